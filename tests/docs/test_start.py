"""docs/start.md as it stands: its files are written, its commands typed, and its comparison trains."""

import json
import re
import shlex
import subprocess
import sys

import pytest

from gainrl.app import train
from gainrl.app.commandline.command import answer
from tests.composition import ROOT

PAGE = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")


def write_files(folder) -> None:
    """The blocks whose first line names a file, and the prompt that the page leaves to its reader."""
    for name, text in re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "prompt.txt").write_text('Answer with "letters", please.', encoding="utf-8")
    subprocess.run([sys.executable, "make_words.py"], cwd=folder, check=True)


@pytest.fixture
def place(tmp_path, monkeypatch):
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def commands() -> list[str]:
    return re.findall(r"^gainrl-train (--config-dir .*)$", PAGE, re.MULTILINE)


def test_every_command_of_the_page_is_accepted(place):
    assert len(commands()) == 5
    (place / "runs" / "jsonl" / "experiment-words" / "s0").mkdir(parents=True)  # of the run that is prolonged
    for line in commands():
        answer(train.COMMAND, shlex.split(line))
    answer(train.COMMAND, ["--config-dir", "my_conf", "experiment=words", "template.system=@prompt.txt"])


def test_the_run_of_the_page_trains_and_says_whether_it_learned(place, monkeypatch, capfd):
    line = next(line for line in commands() if "in_file_order" in line)
    quick = ["schedule.steps=2", "evaluation.limit=2", "evaluation.samples=0", "logger=none", "hydra.run.dir=out"]
    monkeypatch.setattr(sys, "argv", ["gainrl-train", *shlex.split(line), *quick])
    monkeypatch.setattr(train, "_exit_code", 0)
    monkeypatch.setattr("gainrl.app.run.draw_curves", lambda *given, **options: None)
    with pytest.raises(SystemExit) as done:
        train.cli()
    out, err = capfd.readouterr()
    assert done.value.code == 0, err
    assert "learning: " in out
    assert json.loads((place / "out" / "record.json").read_text())["status"] == "finished"
    rows = [json.loads(text)["row"] for text in (place / "out" / "rollouts.jsonl").read_text().splitlines()]
    assert list(dict.fromkeys(rows)) == list(range(16))  # in the order of the file
