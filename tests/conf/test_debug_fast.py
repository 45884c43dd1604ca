"""``debug=fast`` beside everything that can be chosen: it passes the checks of a run, and is small."""

import csv
import io

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from gainrl.app.components import build_components, close_parts
from gainrl.app.early import check_early
from gainrl.app.train import run_job
from gainrl.app.validate import validate
from tests.composition import composed, options
from tests.published_data import excerpt, needs_data

OWN = ("arithmetic", "reasoning_gym", "short_tasks", "small_programs")
PUBLISHED = {
    "aime": {"aime_train": 40, "aime24_test": 30},
    "amc": {"amc_train": 40, "amc_test": 8},
    "deepscaler": {"deepscaler_partial_train": 40, "math500_test": 8},
    "gsm8k": {"gsm8k_train": 40, "gsm8k_test": 8},
    "math": {"math_train": 40, "math500_test": 8},
    "mbpp": {"mbpp_train": 40, "mbpp_test": 8},
}
EVALUATION_ONLY = {
    "codecontests": {"codecontests_test": 8},
    "humaneval": {"humaneval_test": 8},
    "minerva": {"minerva_math_test": 8},
    "olympiadbench": {"olympiadbench_test": 8},
}
REWARDS = {
    "procedural": (),
    "procedural_exact": (),
    "math": (),
    "format": (),
    "weighted": (),
    "custom": ("reward.path=tests.composition:coin",),
}


def check(*overrides: str):
    """All that a run checks before a weight is loaded; its configuration and components."""
    config = composed("debug=fast", *overrides)
    validate(config)
    check_early(config)
    components = build_components(config)
    close_parts(components.engine, components.reward)
    assert config.schedule.steps * config.schedule.prompts_per_step <= 48
    assert len(components.splits.train) <= 64
    assert components.sampling.max_new_tokens <= 48
    return config, components


@pytest.mark.parametrize("model", options("model"))
def test_with_every_model(model, tmp_path):
    place = ("model.source=" + str(tmp_path),) if model == "hub" else ()
    config = composed("debug=fast", f"model={model}", *place)
    validate(config)
    assert OmegaConf.missing_keys(config) == set()
    assert config.schedule.steps <= 6
    assert config.schedule.prompts_per_step * config.algorithm.group_size <= 64
    assert config.rollout.max_new_tokens <= 48


@pytest.mark.parametrize("turn", range(len(options("baseline"))))
def test_with_every_baseline_template_and_reward(turn):
    """Which do not depend on each other: each turn takes the next of each."""
    templates = [name for name in options("template") if name not in ("small_programs", "by_source")]
    reward, more = list(REWARDS.items())[turn % len(REWARDS)]
    baseline = options("baseline")[turn]
    check(
        f"baseline={baseline}",
        f"template={templates[turn % len(templates)]}",
        f"reward={reward}",
        *more,
        "dataset.terms=[2,3]",
        "model.max_length=2048",
    )


@pytest.mark.parametrize("template", options("template"))
def test_no_template_makes_it_wait_for_a_warm_start(template):
    """The weights that come with gainrl know the prompts of one template."""
    warm_start = composed("debug=fast", f"template={template}").model.warm_start
    assert (warm_start is not None) == (template == "arithmetic")


@pytest.mark.parametrize("dataset", OWN)
def test_with_every_data_set_of_ours(dataset):
    check(f"dataset={dataset}")


@needs_data
@pytest.mark.parametrize("dataset", PUBLISHED)
def test_with_every_published_data_set(dataset, tmp_path):
    data = excerpt(tmp_path / "data", PUBLISHED[dataset])
    check(f"dataset={dataset}", f"data_dir={data}", f"dataset.cache_dir={tmp_path}")


@needs_data
def test_a_data_set_without_training_problems_is_refused_in_words(tmp_path):
    for dataset, files in EVALUATION_ONLY.items():
        data = excerpt(tmp_path / dataset, files)
        with pytest.raises(ValueError, match="this data set has no training problems; choose another"):
            check(f"dataset={dataset}", f"data_dir={data}", f"dataset.cache_dir={tmp_path}")


def test_tokens_cost_where_the_model_may_get_nothing_right_unless_the_algorithm_says_otherwise():
    def cost(*overrides):
        overlong = composed("debug=fast", *overrides).algorithm.overlong
        return overlong and overlong.buffer_fraction

    assert cost() is None
    assert cost("dataset=gsm8k") == cost("model=smollm2_135m_q4") == 1.0
    assert cost("dataset=gsm8k", "algorithm=dapo") == cost("algorithm=dapo") == 0.2


def test_it_trains_on_data_of_which_the_model_knows_nothing(tmp_path):
    lines = [f'{{"problem": "What is {n} + 1?", "answer": "{n + 1}"}}' for n in range(40)]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    place = (f"dataset.train={tmp_path / 'mine.jsonl'}", f"dataset.cache_dir={tmp_path / 'cache'}")
    config = composed("debug=fast", "dataset=jsonl", "schedule.steps=1", *place, folder=tmp_path / "run")
    run_job(config, Console(file=io.StringIO()))
    with open(tmp_path / "run" / "metrics.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["accuracy"]) == 0
    assert float(last["frac_reward_zero_std"]) < 1
    assert float(last["grad_norm"]) > 0


def test_with_data_of_ones_own(tmp_path):
    (tmp_path / "mine.jsonl").write_text(
        "".join(f'{{"problem": "{n} + 1", "answer": "{n + 1}"}}\n' for n in range(100))
    )
    _, components = check(
        "dataset=jsonl", f"dataset.train={tmp_path / 'mine.jsonl'}", f"dataset.cache_dir={tmp_path / 'cache'}"
    )
    assert len(components.splits.train) == 64


def test_with_programs_of_ones_own_that_have_tests_in_place_of_answers(tmp_path):
    data = "".join(f'{{"problem": "Write add{n}(x).", "tests": "assert add{n}(1) == {n + 1}"}}\n' for n in range(100))
    (tmp_path / "code.jsonl").write_text(data)
    place = (f"dataset.train={tmp_path / 'code.jsonl'}", f"dataset.cache_dir={tmp_path / 'cache'}")
    check("dataset=jsonl", *place, "reward=code", "template=code")
