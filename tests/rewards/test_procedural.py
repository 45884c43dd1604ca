import json
from collections.abc import Iterator

import pytest
import reasoning_gym

from gainrl.rewards.procedural import ProceduralReward
from gainrl.types import Judgement, Problem


@pytest.fixture(scope="module")
def reward() -> Iterator[ProceduralReward]:
    reward = ProceduralReward(workers=1, time_limit_seconds=20.0, batch_limit_seconds=120.0)
    yield reward
    reward.close()


def problem_of(task: str, entry: dict, **extra: object) -> Problem:
    return Problem(
        id="p",
        question=entry["question"],
        reference_answer=str(entry["answer"]),
        extra={"task": task, "entry": entry} | extra,
    )


@pytest.mark.parametrize(
    "task", ["leg_counting", "gcd", "countdown", "chain_sum", "letter_counting", "simple_equations"]
)
@pytest.mark.parametrize("stored_as_text", [False, True])
def test_the_published_answer_of_a_task_is_correct(reward: ProceduralReward, task: str, stored_as_text: bool) -> None:
    for entry in reasoning_gym.create_dataset(task, size=3, seed=11):
        if stored_as_text:
            entry = entry | {"metadata": json.dumps(entry["metadata"])}
        [verdict] = reward.score([rf"So \boxed{{{entry['answer']}}}."], [problem_of(task, entry)])
        assert (verdict.judgement, verdict.value) == (Judgement.CORRECT, 1.0)


def test_a_solution_that_differs_from_the_published_one_is_correct_where_the_task_has_many(
    reward: ProceduralReward,
) -> None:
    entry = {"question": "Reach 10 from 2, 3, 5", "answer": "2+3+5", "metadata": {"numbers": [2, 3, 5], "target": 10}}
    verdicts = reward.score([r"\boxed{5+3+2}", r"\boxed{5+3}"], [problem_of("countdown", entry)] * 2)
    assert [verdict.judgement for verdict in verdicts] == [Judgement.CORRECT, Judgement.WRONG]


def test_partial_credit_trains_but_does_not_count_as_correct(
    reward: ProceduralReward, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"question": "How many legs?", "answer": "12", "metadata": {}}
    problem = problem_of("leg_counting", entry)
    [partial] = reward.score([r"\boxed{12 legs}"], [problem])
    monkeypatch.setattr(reward, "partial_credit", False)
    [strict] = reward.score([r"\boxed{12 legs}"], [problem])
    # leg_counting inherits the general rule: the share of the answer that the reference makes up, 2 of 7 characters.
    assert partial.value == pytest.approx(2 / 7)
    assert strict.value == 0.0
    assert partial.judgement is strict.judgement is Judgement.WRONG


def test_without_a_box_there_is_no_answer_unless_the_full_text_is_read(
    reward: ProceduralReward, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = problem_of("leg_counting", {"question": "?", "answer": "12", "metadata": {}})
    assert reward.score(["12"], [problem])[0].judgement is Judgement.UNPARSABLE
    monkeypatch.setattr(reward, "extract", "full")
    assert reward.score(["<think>9</think>12"], [problem])[0].correct


def test_a_problem_of_another_kind_is_a_fault_of_the_data(reward: ProceduralReward) -> None:
    problem = Problem(id="g1", question="?", reference_answer="12")
    [verdict] = reward.score([r"\boxed{12}"], [problem])
    assert verdict.judgement is Judgement.GOLD_UNPARSABLE
    assert "reward=math" in verdict.detail


def test_a_scorer_that_raises_is_an_error_and_not_a_wrong_answer(reward: ProceduralReward) -> None:
    problem = problem_of("complex_arithmetic", {"question": "?", "answer": "1+1i", "metadata": {}})
    [verdict] = reward.score([r"\boxed{1+1i}"], [problem])
    assert verdict.judgement is Judgement.ERROR
    assert "KeyError" in verdict.detail
    unknown = problem_of("no_such_task", {"question": "?", "answer": "1", "metadata": {}})
    assert reward.score([r"\boxed{1}"], [unknown])[0].judgement is Judgement.GOLD_UNPARSABLE


def test_an_unknown_way_to_read_is_refused() -> None:
    with pytest.raises(ValueError, match="extract=boxed"):
        ProceduralReward(extract="last_line")  # type: ignore[arg-type]


def test_an_answer_that_never_finishes_costs_its_worker_and_not_the_run() -> None:
    entry = {"question": "?", "answer": "1+1", "metadata": {"numbers": [1, 1], "target": 2}}
    reward = ProceduralReward(workers=1, time_limit_seconds=4.0)
    verdicts = reward.score([r"\boxed{9**9**9}", r"\boxed{1+1}"], [problem_of("countdown", entry)] * 2)
    reward.close()
    assert [verdict.judgement for verdict in verdicts] == [Judgement.TIMEOUT, Judgement.CORRECT]


def test_settings_of_the_task_reach_its_scorer(reward: ProceduralReward) -> None:
    # The scorer of puzzle24 refuses numbers above the task's largest, 10 unless the settings say otherwise.
    problem = problem_of("puzzle24", {"question": "?", "answer": "6*4*1*1", "metadata": {}})
    narrower = Problem("p", "?", "", extra=dict(problem.extra) | {"config": json.dumps({"max_value": 5})})
    accepted, refused = reward.score([r"\boxed{6*4*1*1}"] * 2, [problem, narrower])
    assert accepted.correct
    assert not refused.correct


def test_a_module_scores_a_task_of_its_own(reward: ProceduralReward) -> None:
    entry = {"question": "a7 b+2", "answer": "a7 b+2=9"}
    modules = ["gainrl.datasets.running_totals", "gainrl.no_such_module"]
    problems = [problem_of("running_totals", entry, module=module) for module in modules]
    own, missing = reward.score([r"\boxed{a7 b+2=9}"] * 2, problems)
    assert (own.judgement, own.value) == (Judgement.CORRECT, 1.0)
    assert missing.judgement is Judgement.GOLD_UNPARSABLE
    assert "'gainrl.no_such_module' has no scorer" in missing.detail
