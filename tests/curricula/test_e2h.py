import numpy as np
import pytest

from gainrl.curricula.e2h import E2HCurriculum, level_probabilities
from gainrl.curricula.pool import PromptPool

RELEASED = {"exponent": 0.5, "sigma": 0.5, "floor": True}


def test_classic_moves_level_by_level():
    levels = [int(level_probabilities("classic", 4, rho, **RELEASED).argmax()) for rho in (0, 0.24, 0.25, 0.6, 1.0)]
    assert levels == [0, 0, 1, 2, 3]


def test_balanced_never_moves():
    assert level_probabilities("balanced", 4, 0.7, **RELEASED).tolist() == [0.25] * 4


def test_cosine_by_hand():
    # K = 4, Z = 10, p_min = 0.1
    assert level_probabilities("cosine", 4, 0.0, **RELEASED) == pytest.approx([0.4, 0.3, 0.2, 0.1])
    assert level_probabilities("cosine", 4, 0.5, **RELEASED) == pytest.approx([0.25] * 4)
    assert level_probabilities("cosine", 4, 1.0, **RELEASED) == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_gaussian_by_hand():
    # K = 3, p_min = 1/6: a floor of 1/6 each and half of the mass in the Gaussian, centred at 2 sqrt(1/4) = 1
    side = np.exp(-2.0)  # (1)^2 / (2 * 0.25)
    q = np.array([side, 1.0, side]) / (1 + 2 * side)
    assert level_probabilities("gaussian", 3, 0.25, **RELEASED) == pytest.approx(1 / 6 + q / 2)
    assert level_probabilities("gaussian", 3, 0.25, exponent=0.5, sigma=0.5, floor=False) == pytest.approx(q)


@pytest.mark.parametrize("schedule", ["classic", "balanced", "cosine", "gaussian"])
@pytest.mark.parametrize("levels", [1, 2, 5])
def test_probabilities_sum_to_one(schedule, levels):
    for progress in np.linspace(0, 1, 11):
        assert level_probabilities(schedule, levels, progress, **RELEASED).sum() == pytest.approx(1)


def test_steps_hold_the_levels_of_the_schedule():
    pool = PromptPool(400, 8, 10, 40, 8, levels=np.arange(400) % 4 + 1)
    curriculum = E2HCurriculum(schedule="classic")
    curriculum.start(pool, None, 0)
    for pool.counters.step in range(40):
        assert {row % 4 for row in curriculum.propose(8).tolist()} == {pool.step // 10}


def test_data_without_levels_and_unknown_schedules_are_refused():
    with pytest.raises(ValueError, match="choose a dataset with levels"):
        E2HCurriculum().start(PromptPool(20, 2, 5, 10, 8), None, 0)
    with pytest.raises(ValueError, match="3 of 4 training problems have none"):
        E2HCurriculum().start(PromptPool(4, 2, 5, 10, 8, levels=np.array([1, -1, -1, -1])), None, 0)
    with pytest.raises(ValueError, match="type one of classic"):
        E2HCurriculum(schedule="linear")
