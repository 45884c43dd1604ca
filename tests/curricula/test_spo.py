import numpy as np
import pytest
import torch

from gainrl.curricula.pool import PromptPool
from gainrl.curricula.spo import SPOCurriculum
from gainrl.functional.advantages import AdvantageSettings, group_advantages
from gainrl.types import SignalScores
from tests.curricula.simulated import group, report
from tests.training.rig import data_of, fit, module_of

RATES = SignalScores("pass_rate", np.array([0.25, 0.75, np.nan, 1.0]), "high")


def started(signal=None, **settings) -> tuple[SPOCurriculum, PromptPool]:
    curriculum, pool = SPOCurriculum(**settings), PromptPool(4, 2, 5, 10, 1)
    curriculum.start(pool, signal, 0)
    return curriculum, pool


def values(curriculum: SPOCurriculum) -> list[float]:
    return curriculum.tracked_values(np.arange(4)).tolist()


def test_values_begin_with_the_pass_rates_of_the_base_model():
    assert values(started(RATES)[0]) == [0.25, 0.75, 0.5, 1.0]
    assert values(started(SignalScores("angle", np.zeros(4)))[0]) == [0.5] * 4


def test_a_visit_fades_what_was_known_and_counts_itself():
    curriculum, pool = started(RATES, memory=0.5, start_weight=8.0)
    report(curriculum, pool, [group(0, 1, 1)])
    assert values(curriculum)[0] == 0.25  # the step that is under way does not judge itself
    curriculum.propose(2)
    assert values(curriculum)[0] == pytest.approx((0.5 * 2 + 1) / (0.5 * 8 + 1))
    report(curriculum, pool, [group(0, 1, 2)])
    curriculum.propose(2)
    assert values(curriculum)[0] == pytest.approx((0.25 * 2 + 1) / (0.25 * 5 + 2))


def test_prompts_are_drawn_by_their_deviation_and_none_is_left_out():
    curriculum, _ = started(SignalScores("pass_rate", np.array([0.5, 1.0, 1.0, 1.0])), explore=0.05)
    counts = np.bincount([int(curriculum.propose(1)[0]) for _ in range(2000)], minlength=4)
    assert counts / 2000 == pytest.approx(np.array([0.55, 0.05, 0.05, 0.05]) / 0.7, abs=0.03)


def test_advantages_are_differences_to_the_value_over_the_deviation_of_the_step():
    rewards, valid = torch.tensor([[1.0], [0.0], [1.0], [9.0]]), torch.tensor([[True]] * 3 + [[False]])
    tracked = torch.tensor([0.25, 0.25, 1.0, 0.5])
    plain = group_advantages(rewards, valid, AdvantageSettings(baseline="tracker", scale="none"), tracked)
    assert plain.squeeze(1).tolist() == [0.75, -0.25, 0.0, 0.0]
    scaled = group_advantages(rewards, valid, AdvantageSettings(baseline="tracker", scale="batch", eps=0.0), tracked)
    three = np.array([0.75, -0.25, 0.0])
    expected = [*(three - three.mean()) / three.std(ddof=1), 0.0]
    assert scaled.squeeze(1).tolist() == pytest.approx(expected)
    with pytest.raises(ValueError, match="one tracked value for each prompt"):
        group_advantages(rewards, valid, AdvantageSettings(baseline="tracker", scale="none"))
    with pytest.raises(ValueError, match="a group that may hold one completion"):
        AdvantageSettings(baseline="tracker")


def test_a_run_with_one_completion_for_each_prompt_learns_from_the_values():
    from gainrl.types import SamplingParams

    settings = AdvantageSettings(baseline="tracker", scale="none")
    module = module_of(sampling=SamplingParams(group_size=1, max_new_tokens=6), advantage=settings)
    curriculum = SPOCurriculum()
    fit(module, data_of(module, curriculum=curriculum, steps=1))
    rewards = [verdict.value for verdict in module.experience.verdicts]
    assert len(rewards) == 4
    assert module.advantages_B.tolist() == pytest.approx([reward - 0.5 for reward in rewards])
    assert module.counters.updates == 1
