"""What each curriculum does to a learner, over many seeds and without a model."""

from collections.abc import Callable

import numpy as np
import pytest

from gainrl.types import Curriculum, EpochFeedback
from tests.curricula.simulated import SimulatedLearner, easy_first, one_step, pool_for, run, staircase
from tests.curricula.test_contract import CLASSES, make, settings

SEEDS, STEPS = 12, 60


def build(name: str, **changes) -> Curriculum:
    return CLASSES[name](**(settings(name) | changes))


def area(name: str, seed: int, **changes) -> float:
    """Mean over the run of the mean pass rate of the pool: the area under the learning curve."""
    learner, curve = staircase(240, 6, seed), []
    pool = pool_for(learner, steps=STEPS)
    run(
        build(name, **changes),
        pool,
        learner,
        steps=STEPS,
        seed=seed,
        each_step=lambda rows: curve.append(learner.pass_rates().mean()),
    )
    return float(np.mean(curve))


@pytest.fixture(scope="module")
def uniform() -> np.ndarray:
    return np.array([area("uniform", seed) for seed in range(SEEDS)])


def paired_t(differences: np.ndarray) -> float:
    """Mean in units of its standard error."""
    return float(differences.mean() / (differences.std(ddof=1) / np.sqrt(len(differences))))


@pytest.mark.parametrize("name", ["oracle", "gain", "adarft", "mopps", "learnability", "prepo", "greso", "pools"])
def test_selection_beats_uniform_where_most_prompts_are_out_of_reach(name, uniform):
    differences = np.array([area(name, seed) for seed in range(SEEDS)]) - uniform
    assert paired_t(differences) > 4


def test_the_oracle_is_ahead_in_nearly_all_of_many_short_runs():
    ahead = []
    for seed in range(300):
        skills = []
        for name in ("oracle", "uniform"):
            learner = staircase(120, 6, seed)
            run(make(name), pool_for(learner, steps=8), learner, steps=8, seed=seed)
            skills.append(learner.pass_rates().mean())
        ahead.append(skills[0] > skills[1])
    assert np.mean(ahead) > 0.99


def test_no_estimate_beats_the_true_pass_rate(uniform):
    oracle = np.array([area("oracle", seed) for seed in range(SEEDS)])
    for name in ("mopps", "learnability", "greso", "pools"):
        assert paired_t(oracle - [area(name, seed) for seed in range(SEEDS)]) > 4


def test_hard_to_easy_loses(uniform):
    differences = np.array([area("ordered", seed, hard_first=True) for seed in range(SEEDS)]) - uniform
    assert paired_t(differences) < -4


def test_a_reversed_gaussian_loses_to_the_same_gaussian(uniform):
    differences = np.array([area("gain", seed) - area("gain", seed, reversed=True) for seed in range(SEEDS)])
    assert paired_t(differences) > 4


def three_arms(seed: int) -> SimulatedLearner:
    """A solved, a learnable and a hopeless level, at pass rates of about 1, 1/2 and 0, which stay so."""
    levels = np.arange(240) % 3
    return SimulatedLearner(levels, np.array([-10.0, 0.0, 10.0])[levels], seed, rate=0.0)


@pytest.mark.parametrize(
    ("name", "changes", "share"),
    [
        ("sec", {"temperature": 0.2}, 0.9),
        ("dump", {}, 0.8),
        ("mopps", {}, 0.8),
        ("learnability", {}, 0.7),
        ("pools", {}, 0.5),
        ("greso", {}, 0.45),
        ("oracle", {}, 0.9),
        ("uniform", {}, 0.3),
    ],
)
def test_bandits_and_beliefs_find_the_learnable_arm(name, changes, share):
    found = []
    for seed in range(6):
        learner, rows = three_arms(seed), []
        run(build(name, **changes), pool_for(learner, steps=80), learner, steps=80, seed=seed, each_step=rows.append)
        found.append(np.mean(learner.levels[np.concatenate(rows[40:])] == 1))
    assert np.mean(found) > share
    assert name != "uniform" or np.mean(found) < 0.4


def test_adarft_settles_at_its_target():
    for target in (0.3, 0.5, 0.7):
        curriculum, learner = build("adarft", target_accuracy=target), staircase(600, 6, seed=0, rate=0.0)
        pool, rates = pool_for(learner, prompts=16), []
        curriculum.start(pool, easy_first(learner), 0)
        for _ in range(80):
            rows = one_step(curriculum, pool, learner)
            rates.append(learner.pass_rates(rows).mean())
        assert np.mean(rates[20:]) == pytest.approx(target, abs=0.06)


def epochs(
    curriculum: Curriculum, pool, learner: SimulatedLearner, count: int, metric: str, concentration: float = 0.1
) -> list[float]:
    values = []
    for epoch in range(count):
        rates: list[float] = []
        for _ in range(pool.steps_per_epoch):
            one_step(curriculum, pool, learner, correct=rates, concentration=concentration)
        curriculum.end_epoch(EpochFeedback(epoch, float(np.mean(rates))))
        values.append(curriculum.metrics()[metric])
    return values


def test_gain_advances_with_skill_and_recovers_after_forgetting():
    for seed in range(5):
        learner = staircase(240, 6, seed)
        curriculum, pool = make("gain"), pool_for(learner)
        curriculum.start(pool, easy_first(learner), seed)
        learned = epochs(curriculum, pool, learner, 25, "center_fraction")
        assert learned[-1] > learned[4] + 0.1
        learner.skill -= 4.0
        forgotten = epochs(curriculum, pool, learner, 8, "center_fraction")
        assert min(forgotten) < learned[-1] - 0.15
        again = epochs(curriculum, pool, learner, 60, "center_fraction")
        assert again[-1] > min(forgotten) + 0.1


def test_the_released_centre_never_comes_back():
    learner = staircase(240, 6, 0)
    curriculum, pool = build("gain", update="released_trl", bounded=False), pool_for(learner)
    curriculum.start(pool, easy_first(learner), 0)
    centers = epochs(curriculum, pool, learner, 120, "center_fraction", concentration=0.5)
    assert np.all(np.diff(centers) >= 0)
    assert centers[-1] > 1


def test_mastery_climbs_as_the_learner_does():
    learner = staircase(240, 4, 0)
    curriculum, pool = make("mastery"), pool_for(learner)
    curriculum.start(pool, None, 0)
    assert curriculum.metrics()["level"] == 0
    levels = epochs(curriculum, pool, learner, 30, "level")
    assert levels[1] < 3
    assert levels[-1] == 3


def mean_demand(name: str, part: Callable[[list], list]) -> float:
    learner, rows = staircase(240, 6, 0), []
    run(make(name), pool_for(learner, steps=40), learner, steps=40, each_step=rows.append)
    return float(learner.demands[np.concatenate(part(rows))].mean())


@pytest.mark.parametrize("name", ["ordered", "e2h", "prepo", "gain"])
def test_easy_to_hard_curricula_end_with_harder_prompts(name):
    assert mean_demand(name, lambda rows: rows[-8:]) > mean_demand(name, lambda rows: rows[:8]) + 0.5
