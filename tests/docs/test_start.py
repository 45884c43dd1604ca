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
    blocks = re.findall(r"```(?:python|yaml)\n# (\S+\.(?:py|yaml))\n(.*?)```", PAGE, re.DOTALL)
    blocks += re.findall(r"`(my_conf/\S+)`[^`]*`[^`]*`[^`]*```yaml\n(# @package.*?)```", PAGE, re.DOTALL)
    for name, text in blocks:
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
    assert len(commands()) == 7
    (place / "runs" / "jsonl" / "debug-fast,experiment-words" / "s0").mkdir(parents=True)  # the run that is prolonged
    policy = place / "runs" / "arithmetic" / "debug-fast" / "s0" / "policy"
    policy.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (policy / name).touch()
    for line in commands():
        answer(train.COMMAND, shlex.split(line))
    answer(train.COMMAND, ["--config-dir", "my_conf", "experiment=words", "template.system=@prompt.txt"])


def test_the_runs_of_the_page_train_and_say_whether_they_learned(place, monkeypatch, capfd):
    """The curriculum of one's own, then the policy that it left as a model of one's own."""
    monkeypatch.setattr("gainrl.app.run.draw_curves", lambda *given, **options: None)

    def run(line: str, folder: str) -> list[int]:
        quick = ["schedule.steps=2", "evaluation.limit=2", "evaluation.samples=0", "logger=none"]
        monkeypatch.setattr(sys, "argv", ["gainrl-train", *shlex.split(line), *quick, f"hydra.run.dir={folder}"])
        monkeypatch.setattr(train, "_exit_code", 0)
        with pytest.raises(SystemExit) as done:
            train.cli()
        out, err = capfd.readouterr()
        assert done.value.code == 0, err
        assert "learning: " in out
        assert json.loads((place / folder / "record.json").read_text())["status"] == "finished"
        return [json.loads(text)["row"] for text in (place / folder / "rollouts.jsonl").read_text().splitlines()]

    rows = run(next(line for line in commands() if "in_file_order" in line), "out")
    assert list(dict.fromkeys(rows)) == list(range(4))  # two steps of two prompts, in the order of the file
    line = next(line for line in commands() if "model=hub" in line)
    assert run(line.replace("runs/arithmetic/debug-fast/s0/policy", "out/policy"), "again")
