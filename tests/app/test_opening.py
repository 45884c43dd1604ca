"""What a run prints before it starts."""

import io
from types import SimpleNamespace

from rich.console import Console

from gainrl.app.summary import print_opening
from tests.composition import composed


def opening(held_out):
    console = Console(file=io.StringIO(), width=160)
    splits = SimpleNamespace(train=[0] * 40, held_out=held_out)
    components = SimpleNamespace(splits=splits, evaluation_sets=[], findings=["2 rows twice"], curriculum=object())
    config = composed("dataset=arithmetic")
    config.run = {"arm": "mine"}
    print_opening(console, config, components, "loss = ...", ["a remark"])
    return console.file.getvalue()


def test_a_note_says_that_without_held_out_problems_no_accuracy_is_measured():
    text = opening(None)
    assert "40 problems (0 held out)" in text
    assert "note: no held-out problems, so no accuracy will be measured" in text
    assert "dataset.held_out_size=100" in text


def test_with_held_out_problems_there_is_no_such_note():
    text = opening([0] * 7)
    assert "(7 held out)" in text
    assert "no accuracy will be measured" not in text
    assert "data: 2 rows twice" in text
    assert "note: a remark" in text
