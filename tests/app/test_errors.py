"""What people read when something fails: the advice first, and what it came from behind it."""

import errno
import os
import subprocess
import sys

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from gainrl.app.errors import explain, first_cause, forbidden
from gainrl.app.learning import learning_line
from tests.composition import ROOT


def advises(text: str = "") -> None:
    try:
        raise ConnectionError("Couldn't reach the hub")
    except ConnectionError as fault:
        raise ValueError("the data set cannot be loaded here; type data_dir=DIR") from fault


def test_the_advice_comes_first_and_the_cause_behind_it():
    with pytest.raises(InstantiationException) as caught:
        instantiate({"_target_": "tests.app.test_errors.advises"})
    assert first_cause(caught.value) == (
        "the data set cannot be loaded here; type data_dir=DIR\n  from: Couldn't reach the hub"
    )


def test_a_home_that_cannot_be_written_is_answered_with_what_to_set_wherever_it_was_met():
    try:
        try:
            raise PermissionError(errno.EACCES, "Permission denied", "/home/me/.cache/huggingface")
        except PermissionError as cause:
            raise ValueError("Error in call to target") from cause
    except ValueError as fault:
        message = first_cause(fault)
    assert message.startswith("/home/me/.cache/huggingface cannot be written (Permission denied)")
    assert "HF_HOME" in message
    assert "GAINRL_CACHE" in message


def test_no_sentence_is_printed_twice():
    inner = ValueError("No module named 'x'")
    outer = ValueError("path='x:y': No module named 'x'. Install it")
    outer.__cause__ = inner
    assert first_cause(outer) == str(outer)


def test_a_home_that_is_not_there_is_answered_like_one_that_cannot_be_written(monkeypatch):
    monkeypatch.setenv("HOME", "/nonexistent")
    text = forbidden(FileNotFoundError(errno.ENOENT, "No such file or directory", "/nonexistent/.cache"))
    assert text is not None
    assert "GAINRL_CACHE" in text
    assert forbidden(FileNotFoundError(errno.ENOENT, "No such file or directory", "mine.jsonl")) is None


def test_a_folder_that_cannot_be_written_is_named_with_what_to_export(capsys):
    fault = PermissionError(errno.EACCES, "Permission denied", "/root/.cache")
    assert forbidden(ValueError("x")) is None
    explain(fault, "Cannot run")
    text = " ".join(capsys.readouterr().err.split())
    assert text.startswith("Failed: /root/.cache cannot be written (Permission denied)")
    assert "GAINRL_CACHE" in text
    assert "Traceback" not in text


def test_an_error_of_ours_is_shown_with_its_traceback(capsys):
    explain(KeyError("x"), "Cannot run")
    assert "KeyError" in capsys.readouterr().err


@pytest.mark.parametrize(
    "surroundings",
    [
        {"COLUMNS": "0"},
        {"COLUMNS": "20"},
        {"COLUMNS": "wide"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii"},
    ],
    ids=str,
)
def test_a_message_reaches_every_terminal(surroundings, tmp_path):
    code = (
        "from gainrl.app.runtime import prepare_process; prepare_process()\n"
        "from rich.console import Console; from rich.table import Table\n"
        "table = Table('arm', 'seconds'); table.add_row('baseline-vanilla_grpo', '123')\n"
        "Console().print(table); Console(stderr=True).print('Σ: type lr=1')"
    )
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]} | surroundings
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"baseline-vanilla_grpo" in done.stdout
    assert b": type lr=1" in done.stderr


@pytest.mark.parametrize(
    ("rows", "message", "learned"),
    [
        (["0,,,0.25,", "1,0.5,0.1,,0.5", "2,0.75,0,0.5,0.75"],
         "1 of 2 steps had an update with a gradient; reward 0.500 -> 0.750, held-out accuracy 0.250 -> 0.500", True),
        (["0,,,,", "1,-0.5,0.1,,0"], "no held-out problems; no completion of a training prompt was right", True),
        (["0,,,,", "1,0,0,,0"], "learning: nothing. In all 1 steps", False),
        (["0,,,,", "1,0,0,,0"], "No completion was right", False),
        (["0,,,,", "1,1,0,,1"], "equally good", False),
        (["0,,,,"], "the run made no step", False),
    ],
)  # fmt: skip
def test_a_run_says_whether_anything_was_learned(rows, message, learned, tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,reward,grad_norm,eval/accuracy,accuracy\n" + "\n".join(rows) + "\n")
    line, whether = learning_line(path)
    assert message in line
    assert whether is learned
