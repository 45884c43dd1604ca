"""What every curriculum promises, whatever it selects by."""

import ast
import copy
import importlib
import inspect
import io
import pathlib

import numpy as np
import pytest
import torch
import yaml

from gainrl.functional.streams import generator
from gainrl.types import Curriculum, EpochFeedback
from tests.curricula.simulated import easy_first, one_step, pool_for, run, staircase

ANCHORS = pathlib.Path(__file__).parent / "anchors"
VARIANTS = {
    "adarft frozen": {"frozen_per_epoch": True, "unseen_first": True},
    "adarft rank": {"difficulty": "rank"},
    "bandit dump": {"rule": "dump", "temperature": 0.1},
    "bandit level": {"over": "level"},
    "bandit tscl": {"rule": "tscl", "temperature": 0.1, "uniform": 0.1},
    "e2h gaussian": {"schedule": "gaussian"},
    "fraction random": {"keep": "random"},
    "pcl once": {"live": False, "factor": None},
    "gain half": {"keep_fraction": 0.5, "reversed": True},
    "gain middle": {"keep_fraction": 0.5, "keep": "middle"},
    "gain released": {"update": "released_trl", "bounded": False},
    "mastery span": {"span": 3, "window": 2},
    "mopps bots": {"factor": None, "memory": 0.8, "implicit": 0.2, "strong": f"{ANCHORS}/strong.csv"},
    "mopps threshold": {"pick": "threshold", "memory": 0.5},
    "ordered sorted_epochs": {"mode": "sorted_epochs"},
    "prepo static": {"live": False},
}
# The published tenth of the small pools of these tests would not fill a step.
ROOMY = {"fraction": {"keep_fraction": 0.75}}
CONF = pathlib.Path(__file__).parents[2] / "conf" / "curriculum"


def target(name: str) -> type:
    module, _, attribute = yaml.safe_load((CONF / f"{name}.yaml").read_text())["_target_"].rpartition(".")
    return getattr(importlib.import_module(module), attribute)


CLASSES = {path.stem: target(path.stem) for path in sorted(CONF.glob("*.yaml"))}


def settings(name: str) -> dict:
    return {key: value for key, value in yaml.safe_load((CONF / f"{name}.yaml").read_text()).items() if key[0] != "_"}


def make(name: str) -> Curriculum:
    short = name.split()[0]
    return CLASSES[short](**(settings(short) | ROOMY.get(short, {}) | VARIANTS.get(name, {})))


@pytest.fixture(params=sorted([*CLASSES, *VARIANTS]))
def name(request):
    return request.param


def trace(name: str, *, steps: int = 14, seed: int = 3, refill: int = 2) -> list[list[int]]:
    learner, steps_seen = staircase(96, 4, seed=1), []
    run(
        make(name),
        pool_for(learner),
        learner,
        steps=steps,
        seed=seed,
        refill=refill,
        each_step=lambda rows: steps_seen.append(rows.tolist()),
    )
    return steps_seen


@pytest.mark.parametrize("name", CLASSES)
def test_a_name_is_a_config_and_a_module_of_that_name(name):
    assert CLASSES[name].__module__ == f"gainrl.curricula.{name}"
    parameters = inspect.signature(CLASSES[name]).parameters.values()
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters)
    assert set(settings(name)) == {parameter.name for parameter in parameters}


@pytest.mark.parametrize("package", ["curricula", "admission"])
def test_selection_imports_nothing_that_holds_models_or_problems(package):
    allowed = ("gainrl.types", "gainrl.functional.", f"gainrl.{package}.")
    for path in (CONF.parents[1] / "gainrl" / package).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("gainrl"):
                assert node.module.startswith(allowed), f"{path.name} imports {node.module}"


def test_satisfies_the_protocol(name):
    assert isinstance(make(name), Curriculum)


@pytest.mark.parametrize("refill", [0, 1, 8])
def test_steps_hold_exactly_the_prompts_asked_for_and_no_prompt_twice(name, refill):
    for rows in trace(name, refill=refill):
        assert len(rows) == 8 + refill == len(set(rows))
        assert all(0 <= row < 96 for row in rows)


def test_sizes_that_do_not_divide_the_pool_are_served_exactly(name):
    learner = staircase(53, 4, seed=1)
    pool, curriculum = pool_for(learner, prompts=8), make(name)
    curriculum.start(pool, easy_first(learner), 0)
    for n in (1, 7, 8, 5, 8, 3, 8, 2, 8, 8):
        rows = curriculum.propose(n)
        assert len(set(rows.tolist())) == n == len(rows)


def test_more_prompts_than_the_pool_holds_are_refused(name):
    learner = staircase(12, 4, seed=1)
    curriculum = make(name)
    with pytest.raises(ValueError, match="lower prompts_per_step"):
        curriculum.start(pool_for(learner, prompts=13), easy_first(learner), 0)


def test_refills_beyond_the_pool_are_refused(name):
    learner = staircase(24, 4, seed=1)
    curriculum = make(name)
    curriculum.start(pool_for(learner, prompts=8), easy_first(learner), 0)
    rows = curriculum.propose(8)
    with pytest.raises(ValueError, match="besides the 8 already in this step"):
        curriculum.propose(17, exclude=rows.tolist())


def test_the_same_seed_gives_the_same_run(name):
    assert trace(name) == trace(name)


def test_draws_have_a_stream_of_their_own(name):
    expected = trace(name)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    assert trace(name) == expected
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_reading_metrics_changes_no_draw(name):
    learner, plain = staircase(96, 4, seed=1), trace(name, refill=0, steps=9)
    pool, curriculum, rates = pool_for(learner), make(name), []
    curriculum.start(pool, easy_first(learner), 3)
    for step in range(9):
        first = curriculum.metrics()
        assert curriculum.metrics() == first
        assert all(isinstance(value, float) for value in first.values())
        assert one_step(curriculum, pool, learner, correct=rates).tolist() == plain[step]
        curriculum.metrics()
        if step % 4 == 3:
            curriculum.end_epoch(EpochFeedback(step // 4, float(np.mean(rates))))
            rates.clear()
            curriculum.metrics()


def saved(state: dict) -> dict:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@pytest.mark.parametrize("refill", [0, 3])
def test_a_run_resumed_at_any_step_draws_the_same_prompts(name, refill):
    learner = staircase(96, 4, seed=1)
    pool, curriculum = pool_for(learner), make(name)
    signal = easy_first(learner)
    curriculum.start(pool, signal, 3)
    rates: list[float] = []
    for step in range(10):
        state, pool_state, twin = saved(curriculum.state_dict()), saved(pool.state_dict()), copy.deepcopy(learner)
        resumed_pool, resumed = pool_for(staircase(96, 4, seed=1)), make(name)
        resumed_pool.measure = twin.pass_rates
        resumed.start(resumed_pool, signal, 3)
        resumed_pool.load_state_dict(pool_state)
        resumed_pool.counters.step = pool.step  # which the module's checkpoint holds
        resumed.load_state_dict(state)
        expected = one_step(curriculum, pool, learner, refill, correct=rates)
        assert one_step(resumed, resumed_pool, twin, refill).tolist() == expected.tolist()
        assert saved(resumed.state_dict()).keys() == state.keys()
        if step % 4 == 3:
            curriculum.end_epoch(EpochFeedback(step // 4, float(np.mean(rates))))
            rates.clear()


def state_bytes(state: dict) -> int:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return len(buffer.getvalue())


def test_state_does_not_grow_with_the_length_of_the_run(name):
    def after(steps: int) -> int:
        learner = staircase(64, 4, seed=1)
        curriculum = make(name)
        run(curriculum, pool_for(learner, steps=200), learner, steps=steps, refill=2)
        return state_bytes(curriculum.state_dict())

    assert after(200) <= after(40) * 1.2


def test_shaped_rewards_change_nothing(name):
    def rows_with(bonus: float) -> list[list[int]]:
        learner = staircase(96, 4, seed=1)
        roll_out = learner.roll_out

        def shaped(rows, step):
            groups = roll_out(rows, step)
            for group in groups:
                group.rewards = group.rewards * 3 + bonus
            return groups

        learner.roll_out = shaped
        seen: list[list[int]] = []
        run(make(name), pool_for(learner), learner, steps=12, each_step=lambda rows: seen.append(rows.tolist()))
        return seen

    assert rows_with(0.0) == rows_with(-7.5)


def test_groups_whose_judge_failed_are_survived(name):
    learner = staircase(96, 4, seed=1)
    roll_out = learner.roll_out

    def failing(rows, step):
        groups = roll_out(rows, step)
        groups[0].valid[:] = False
        return groups

    learner.roll_out = failing
    pool, curriculum = pool_for(learner), make(name)
    curriculum.start(pool, easy_first(learner), 0)
    for _ in range(8):
        assert len(set(one_step(curriculum, pool, learner).tolist())) == 8
    assert all(np.isfinite(value) for value in curriculum.metrics().values())


def test_two_ranks_take_disjoint_halves_of_one_draw(name):
    halves = []
    for rank in range(2):  # every rank runs the whole curriculum on the gathered groups and takes every second row
        halves.append([rows[rank::2] for rows in trace(name, refill=0)])
    for left, right, whole in zip(*halves, trace(name, refill=0), strict=True):
        assert not set(left) & set(right)
        assert sorted(left + right) == sorted(whole)


def test_constants_scale_with_the_pool(name):
    """Eight times the prompts, in the pool and in a step: the same difficulty epoch by epoch."""

    def difficulty(scale: int) -> np.ndarray:
        learner = staircase(256 * scale, 4, seed=1, rate=0.05 / scale)
        start = np.argsort(np.argsort(-learner.pass_rates())) / len(learner.levels)
        seen: list[float] = []
        pool = pool_for(learner, prompts=32 * scale, steps=12)
        run(make(name), pool, learner, steps=12, each_step=lambda rows: seen.append(start[rows].mean()))
        return np.array(seen).reshape(3, 4).mean(1)

    assert difficulty(1) == pytest.approx(difficulty(8), abs=0.1)


def test_uniform_is_plain_grpo_batch_for_batch():
    seen = trace("uniform", steps=30, refill=0)
    expected = []
    for number in range(3):
        permutation = generator(3, "selection", number).permutation(96)
        expected += [permutation[start : start + 8].tolist() for start in range(0, 96, 8)]
    assert seen == expected[:30]
