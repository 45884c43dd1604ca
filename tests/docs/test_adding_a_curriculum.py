"""The recipe in docs/adding_a_curriculum.md works as printed."""

import pathlib
import re
import sys
import types
from collections.abc import Sequence

import numpy as np
import pytest
import yaml

from gainrl.training.concentration_settings import Concentration
from gainrl.types import Curriculum, GroupOutcome, Prospects
from tests.curricula import test_contract
from tests.training.rig import data_of, fit, module_of

TEXT = (pathlib.Path(__file__).parents[2] / "docs" / "adding_a_curriculum.md").read_text()
MODULE, TEST, SHARPEN, ALLOCATION = re.findall(r"```python\n(.*?)```", TEXT, re.S)
CONFIG = yaml.safe_load(re.search(r"```yaml\n(.*?)```", TEXT, re.S)[1])


@pytest.fixture
def example(monkeypatch):
    module = types.ModuleType("gainrl.curricula.oldest")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(MODULE + SHARPEN, module.__dict__)
    values = {key: value for key, value in CONFIG.items() if key != "_target_"}
    assert CONFIG["_target_"] == f"{module.__name__}.OldestCurriculum"
    monkeypatch.setitem(test_contract.CLASSES, "oldest", module.OldestCurriculum)
    monkeypatch.setattr(test_contract, "settings", lambda name: values)
    return module


def test_the_printed_test_passes(example):
    namespace: dict = {}
    exec(TEST, namespace)
    tests = [function for name, function in namespace.items() if name.startswith("test_")]
    assert tests
    for function in tests:
        function()


def test_the_printed_curriculum_meets_the_contract(example):
    assert isinstance(example.OldestCurriculum(), Curriculum)
    test_contract.test_steps_hold_exactly_the_prompts_asked_for_and_no_prompt_twice("oldest", 3)
    test_contract.test_sizes_that_do_not_divide_the_pool_are_served_exactly("oldest")
    test_contract.test_a_run_resumed_at_any_step_draws_the_same_prompts("oldest", 3)
    test_contract.test_reading_metrics_changes_no_draw("oldest")
    test_contract.test_groups_whose_judge_failed_are_survived("oldest")
    test_contract.test_constants_scale_with_the_pool("oldest")


def test_the_printed_curriculum_orders_by_the_concentration_that_updates_showed(example, tmp_path):
    """A policy that does not move: every prompt is measured once, then the least concentrated come again, in order."""
    curriculum = example.SharpenCurriculum()
    assert isinstance(curriculum, Curriculum)
    shown, drawn = {}, []
    after_update, propose = curriculum.after_update, curriculum.propose
    curriculum.after_update = lambda values: (shown.update(values), after_update(values))
    curriculum.propose = lambda n, exclude=(): drawn.append(propose(n, exclude)) or drawn[-1]
    module = module_of(concentration=Concentration(), objective={"beta": 0.01}, lr=0.0)  # with a KL every prompt runs
    fit(module, data_of(module, curriculum=curriculum, steps=6, epoch=6))
    assert sorted(row for rows in drawn[:4] for row in rows) == list(range(16))
    lowest = sorted(shown, key=shown.get)[:4]
    assert drawn[4].tolist() == drawn[5].tolist() == lowest


def test_the_printed_allocation_shares_the_completions_of_a_step():
    namespace = {"np": np, "Prospects": Prospects, "GroupOutcome": GroupOutcome, "Sequence": Sequence}
    exec(ALLOCATION, namespace)
    assert len(ALLOCATION.strip().splitlines()) == 10
    allocation = namespace["HalvesAllocation"]()
    assert allocation.plan(Prospects(np.array([0.9, 0.1, 0.5, 0.2]), 24, 6)).tolist() == [4, 8, 4, 8]
    module = module_of(allocation=allocation)
    fit(module, data_of(module, steps=1))
    assert module.experience.sizes == [4, 4, 2, 2]
