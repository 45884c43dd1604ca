"""What newcomers typed on their first day, as they typed it: refused with what to type, or accepted and meant.

Runs to their end are in `tests/app/test_commands.py` and `test_sweep.py`, reports in `tests/report/test_caveats.py`,
the smoke run of every part in `tests/conf/test_debug_fast.py`.
"""

import pytest

from gainrl.app.commandline.command import answer
from gainrl.app.commandline.composing import Composer
from gainrl.app.errors import ConfigError
from gainrl.app.planned import list_jobs
from gainrl.app.train import COMMAND
from tests.composition import arm


@pytest.fixture(autouse=True)
def a_folder_with_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [f'{{"problem": "What is {n} + 1?", "answer": "{n + 1}"}}' for n in range(8)]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))


def refusal(*typed: str) -> str:
    with pytest.raises(ConfigError) as caught:
        answer(COMMAND, typed)
    return str(caught.value)


def settings_of(typed):
    return [text for text in answer(COMMAND, typed) if not text.startswith("--")]


def accepted(*typed: str):
    return Composer("config").compose(answer(COMMAND, typed))


@pytest.mark.parametrize(
    ("typed", "advice"),
    [
        ("basline=vanilla_grpo", "did you mean baseline=vanilla_grpo?"),
        ("+basline=vanilla_grpo", "did you mean baseline=vanilla_grpo?"),
        ("+algorithm.groupsize=16", "did you mean algorithm.group_size=16?"),
        ("+schedule.step=3", "did you mean schedule.steps=3?"),
        ("baseline=gainrl", "did you mean baseline=gain_rl?"),
        ("experiment=gsm8k", "did you mean experiment=gsm8k_0.5b?"),
        ("lr=1e-5", "did you mean optimizer.optimizer.lr=1e-5?"),
        ("optimizer.lr=1e-5", "did you mean optimizer.optimizer.lr=1e-5?"),
        ("algorithm.groupsize=16", "did you mean algorithm.group_size=16?"),
        ("seed=abc", "seed=abc must be a whole number, 0 or more"),
        ("schedule.steps=ten", "schedule.steps=ten must be a whole number, 1 or more"),
        ("--experiment x", "type experiment=x"),
        ("seed = 3", "type seed=3"),
        ("a, b", "'a,' has no '='"),
        ("-seed=3", "type seed=3"),
        ("--dryrun", "did you mean --dry-run?"),
    ],
)
def test_mistakes_are_answered_with_what_to_type_and_leave_nothing_behind(typed, advice, tmp_path):
    before = set(tmp_path.iterdir())
    assert advice in refusal(*typed.split(" "))
    assert set(tmp_path.iterdir()) == before


def test_a_system_prompt_is_given_with_data_of_ones_own():
    config = accepted("dataset=jsonl", "dataset.train=mine.jsonl", "template.system=Solve it.")
    assert config.template.system == "Solve it."


def test_the_field_of_the_level_is_named_plainly():
    assert accepted("dataset=jsonl", "dataset.train=mine.jsonl", "dataset.level=grade").dataset.level == "grade"


def test_texts_with_commas_and_equals_signs_are_answered_with_their_quotes(tmp_path):
    assert """type 'template.system="Let x = 2, say."'""" in refusal("template.system=Let x = 2, say.")
    assert accepted('template.system="Let x = 2, say."').template.system == "Let x = 2, say."
    (tmp_path / "prompt.txt").write_text("Let x = 2, say.")
    assert accepted("template.system=@prompt.txt").template.system == "Let x = 2, say."


def test_a_comma_in_a_text_is_one_job():
    assert len(list_jobs(settings_of(['template.system="Think, then answer."']))) == 1


def test_the_team_and_tags_of_a_tracker_work_and_are_no_part_of_an_arms_name():
    typed = ("+logger.wandb.entity=my-team", "+logger.wandb.tags=[mine]", "baseline=vanilla_grpo")
    config = accepted(*typed)
    assert config.logger.wandb.entity == "my-team"
    assert list(config.logger.wandb.tags) == ["mine"]
    assert arm(config) == "baseline-vanilla_grpo"


def test_a_second_sweep_gets_a_folder_of_its_own():
    first, second = (
        {job.folder.parts[-3] for job in list_jobs(settings_of(["-m", f"{what}=0,1"]))}
        for what in ("seed", "model.seed")
    )
    assert first.isdisjoint(second)


def test_arms_with_data_of_ones_own_are_named_by_what_differs():
    fixed = ("dataset=jsonl", "dataset.train=mine.jsonl", "dataset.level=grade", "template.system=Solve it.")
    jobs = list_jobs(settings_of(["-m", *fixed, "baseline=gain_rl,vanilla_grpo"]))
    assert [job.folder.parent.name for job in jobs] == ["baseline-gain_rl", "baseline-vanilla_grpo"]
    assert [job.arm for job in jobs] == ["gain_rl", "vanilla_grpo"]


def test_runs_from_several_bases_are_one_arm_in_a_preview():
    settings = ["-m", "experiment=testbed", "model.seed=0,1", "seed=0,1", "baseline=gain_rl,vanilla_grpo"]
    jobs = list_jobs(settings_of(settings))
    assert len(jobs) == 8
    assert {job.arm for job in jobs} == {"gain_rl", "vanilla_grpo"}
