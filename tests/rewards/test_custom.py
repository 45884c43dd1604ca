from pathlib import Path

import pytest

from gainrl.rewards.custom import CustomReward
from gainrl.types import Judgement, Problem, Verdict

PROBLEM = Problem("p", "?", "5")


def reward_from(tmp_path: Path, body: str, **settings: float) -> CustomReward:
    file = tmp_path / "my_rewards.py"
    file.write_text(f"def score(completion, problem):\n    {body}\n")
    return CustomReward(path=f"{file}:score", **settings)


def test_a_number_trains_and_counts_as_correct_from_a_threshold_up(tmp_path: Path) -> None:
    reward = reward_from(tmp_path, "return 0.5 if problem.reference_answer in completion else 0.0", correct_at=0.5)
    verdicts = reward.score(["it is 5", "it is 6"], [PROBLEM] * 2)
    assert [(verdict.judgement, verdict.value) for verdict in verdicts] == [
        (Judgement.CORRECT, 0.5),
        (Judgement.WRONG, 0.0),
    ]


@pytest.mark.parametrize("body", ["return 1 / 0", "return float('nan')", "return None", "return 'good'"])
def test_a_failure_is_an_error_and_is_counted_never_zero_reward(tmp_path: Path, body: str) -> None:
    reward = reward_from(tmp_path, body)
    verdicts = reward.score(["x", "y"], [PROBLEM] * 2)
    assert all(verdict.excluded for verdict in verdicts)
    assert reward.failures == 2


def test_a_function_may_return_a_verdict_of_its_own() -> None:
    [verdict] = CustomReward(path=f"{Path(__file__)}:own_verdict").score(["x"], [PROBLEM])
    assert (verdict.judgement, verdict.value, verdict.components) == (Judgement.UNPARSABLE, -0.25, {"style": 0.5})


def own_verdict(completion: str, problem: Problem) -> Verdict:
    return Verdict(Judgement.UNPARSABLE, -0.25, components={"style": 0.5})


def test_an_import_path_works_too() -> None:
    reward = CustomReward(path="tests.composition:coin")
    assert reward.score(["1.0"], [PROBLEM])[0].value in (0.0, 1.0)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("def score(completion): return 1.0", "cannot be called as function.completion, problem.: too many positional"),
        ("async def score(completion, problem): return 1.0", "write def in place of async def"),
        ("def score(completion, problem) return 1.0", r"my_rewards.py cannot be run \(SyntaxError: expected ':'"),
        ("import no_such_package", r"cannot be run \(ModuleNotFoundError: No module named 'no_such_package'"),
        ("import sys; sys.exit(2)", r"cannot be run \(SystemExit: 2\)"),
        ("score = 1.0", "has no function 'score'"),
    ],
)
def test_a_file_that_cannot_judge_is_refused_before_anything_is_judged(tmp_path: Path, text: str, advice: str) -> None:
    file = tmp_path / "my_rewards.py"
    file.write_text(text)
    with pytest.raises(ValueError, match=f"(?i){advice}"):
        CustomReward(path=f"{file}:score")


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("my_rewards", "module:function"),
        ("no_such_package.rewards:score", "PYTHONPATH"),
        ("no_such_file.py:score", "working directory"),
        ("gainrl.types:no_such_function", "no function"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(path: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        CustomReward(path=path)
