import numpy as np
import pytest

from gainrl.curricula.fraction import FractionCurriculum
from gainrl.curricula.gain import GainCurriculum
from gainrl.curricula.pool import PromptPool
from gainrl.types import SignalScores

RATES = SignalScores("pass_rate", np.arange(20) / 20, "high")  # row 0 is passed least often
ANGLES = SignalScores("angle", np.arange(20) / 20, "high")
WINDOW = {"width": 0.2, "step_scale": 0.1, "alpha": 2.0, "beta": 0.5, "gamma": 0.5}


def kept(keep: str, signal: SignalScores = RATES, seed: int = 0, keep_fraction: float = 0.2) -> list[int]:
    curriculum = FractionCurriculum(keep_fraction=keep_fraction, keep=keep)
    curriculum.start(PromptPool(20, 2, 5, 10, 8), signal, seed)
    return sorted({int(row) for _ in range(20) for row in curriculum.propose(2)})


def test_the_hardest_tenth_is_what_the_base_model_passes_least_often():
    assert kept("hardest", keep_fraction=0.1) == [0, 1]
    assert kept("easiest", keep_fraction=0.1) == [18, 19]
    assert kept("middle") == [8, 9, 10, 11]


def test_the_ends_of_the_angles_have_names_of_their_own():
    assert kept("concentrated", ANGLES) == kept("easiest", ANGLES) == [16, 17, 18, 19]
    assert kept("spread", ANGLES) == kept("hardest", ANGLES) == [0, 1, 2, 3]
    for curriculum in (FractionCurriculum(keep="spread"), GainCurriculum(keep="spread", keep_fraction=0.5, **WINDOW)):
        with pytest.raises(ValueError, match=r"type curriculum\.keep=hardest, which is the same end of any signal"):
            curriculum.start(PromptPool(20, 2, 5, 10, 8), RATES, 0)


def test_a_random_part_depends_on_the_seed_and_on_nothing_else():
    turned = SignalScores("length", RATES.values[::-1].copy(), "low")
    assert kept("random", seed=3) == kept("random", turned, seed=3) == kept("random", seed=3)
    assert len({tuple(kept("random", seed=seed)) for seed in range(8)}) == 8


def test_the_part_is_served_as_plain_grpo_serves_a_pool():
    curriculum = FractionCurriculum(keep_fraction=0.4, keep="hardest")
    curriculum.start(PromptPool(20, 2, 5, 10, 8), RATES, 0)
    passes = [sorted(row for _ in range(4) for row in curriculum.propose(2).tolist()) for _ in range(2)]
    assert passes == [list(range(8))] * 2
    assert curriculum.metrics() == {"pass": 1.0, "share_of_pass": 1.0, "kept": 8.0}


def test_a_signal_measured_again_leaves_the_part_as_it_is():
    curriculum, pool = FractionCurriculum(keep_fraction=0.2), PromptPool(20, 2, 5, 10, 8)
    curriculum.start(pool, RATES, 0)
    state = curriculum.state_dict()
    curriculum.refresh(SignalScores("pass_rate", 1 - RATES.values, "high"))
    resumed = FractionCurriculum(keep_fraction=0.2)
    resumed.start(pool, SignalScores("pass_rate", 1 - RATES.values, "high"), 0)
    resumed.load_state_dict(state)
    for one in (curriculum, resumed):
        assert sorted(row for _ in range(2) for row in one.propose(2).tolist()) == [0, 1, 2, 3]


def test_a_part_too_small_for_a_step_is_refused_with_a_share_that_is_large_enough():
    pool = PromptPool(70, 8, 5, 10, 8)
    signal = SignalScores("length", np.arange(70.0), "low")
    with pytest.raises(
        ValueError, match=r"keeps 7 of 70 prompts, and a step has 8: type curriculum\.keep_fraction=0\.115"
    ):
        FractionCurriculum(keep_fraction=0.1).start(pool, signal, 0)
    FractionCurriculum(keep_fraction=0.115).start(pool, signal, 0)


@pytest.mark.parametrize("keep", ["easiest", "hardest", "middle", "random"])
def test_gain_slides_over_the_part_that_is_kept(keep):
    curriculum = GainCurriculum(keep=keep, keep_fraction=0.2, **WINDOW)
    curriculum.start(PromptPool(20, 4, 1, 10, 8), RATES, 0)
    assert sorted(curriculum.propose(4).tolist()) == kept(keep)


def test_unknown_words_and_shares_are_refused():
    with pytest.raises(ValueError, match="keep='hard' is unknown: type one of easiest, hardest"):
        FractionCurriculum(keep="hard")
    with pytest.raises(ValueError, match=r"keep_fraction=0 lies outside \(0, 1\]"):
        FractionCurriculum(keep_fraction=0)
