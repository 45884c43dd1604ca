"""The examples of docs/bring_your_own.md run as they stand."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from gainrl.types import Judgement, Problem
from tests.models.tiny_folders import save_tiny

PAGE = (Path(__file__).parents[1] / "docs" / "bring_your_own.md").read_text(encoding="utf-8")
EXAMPLES = {}
for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
    exec(block, EXAMPLES)


def test_the_data_set_of_the_page_loads():
    splits = EXAMPLES["squares"](size=50)
    assert (len(splits.train), len(splits.held_out)) == (30, 20)
    assert splits.train[0].reference_answer == "400"


def test_the_reward_of_the_page_judges():
    problem = Problem(id="a", question="What is 3 * 3?", reference_answer="9")
    verdicts = EXAMPLES["LastWord"]().score(["It is 9.", "It is 8.", ""], [problem] * 3)
    assert [verdict.judgement for verdict in verdicts] == [
        Judgement.CORRECT,
        Judgement.WRONG,
        Judgement.UNPARSABLE,
    ]
    assert [verdict.value for verdict in verdicts] == [1.0, 0.0, 0.0]


def test_parts_in_a_folder_of_your_own_train_by_their_names(tmp_path):
    (tmp_path / "my_package.py").write_text("\n\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)))
    (command,) = re.findall(r"^PYTHONPATH=\. gainrl-train (.*)$", PAGE, re.MULTILINE)
    (dataset,) = re.findall(r"```yaml\n# my_conf/dataset/squares.yaml\n(.*?)```", PAGE, re.DOTALL)
    for path, text in (("dataset/squares", dataset), ("reward/last_word", "_target_: my_package.LastWord\n")):
        file = tmp_path / "my_conf" / f"{path}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    save_tiny(tmp_path / "models" / "my-model", "llama")
    quick = ["schedule.steps=1", "schedule.prompts_per_step=2", "evaluation.limit=1", "evaluation.samples=0"]
    quick += ["rollout.max_new_tokens=4", "dataset.size=40", "logger=none"]
    done = subprocess.run(
        [sys.executable, "-m", "gainrl.app.train", *shlex.split(command), *quick, "hydra.run.dir=out"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([".", str(Path(__file__).parents[1])])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "record.json").read_text())["status"] == "finished"
    assert "my_package.LastWord" in (tmp_path / "out" / "config.yaml").read_text()


def test_every_option_that_the_page_names_exists():
    conf = Path(__file__).parents[1] / "conf"
    named = set(re.findall(r"\b(dataset|template|model)=([\w.]*\w)", PAGE))
    assert len(named) > 8
    for group, option in named - {("dataset", "squares")}:
        assert (conf / group / f"{option}.yaml").is_file()
