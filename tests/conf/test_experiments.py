"""Every experiment composes for every arm of its table, and none of them decides the arm behind the arm's back."""

import pytest
from omegaconf import OmegaConf

from tests.composition import ARM_GROUPS, ROOT, content, options, settings, validated

NAMES = options("experiment")
OURS = ("testbed", "smollm2")  # cells that the paper does not have
PAPER = [name for name in NAMES if not name.endswith("_embedded") and not name.startswith(OURS)]
SELECTABLE = {"baseline", "model", "dataset", "template", "reward", "eval"}
GENERATED = {f"gainrl.datasets.{name}.{name}" for name in ("arithmetic", "small_programs")}


def selections(name):
    """Groups that a file overrides, and experiments that it starts from."""
    entries = content("experiment", name).get("defaults", [])
    groups = {key.removeprefix("override /") for entry in entries if isinstance(entry, dict) for key in entry}
    return groups, {entry for entry in entries if isinstance(entry, str)} - {"_self_"}


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_composes_and_passes_the_checks_before_a_run(name):
    validated(f"experiment={name}")


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_may_select_a_baseline_but_no_group_that_a_baseline_selects(name):
    groups, parents = selections(name)
    assert groups <= SELECTABLE
    assert not groups & ARM_GROUPS
    assert parents <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_leaves_the_sweeper_and_the_arm_alone(name):
    keys = set(content("experiment", name)) - {"defaults"}
    assert not keys & {"hydra", "curriculum", "signal", "admission"}


def as_written(node):
    """With references to other settings as they stand: a signal that samples follows the rollouts of its experiment."""
    return OmegaConf.to_container(node, resolve=False)


@pytest.mark.parametrize("arm", ["vanilla_grpo", "gain_rl", "gain_rl_ranks", "adarft", "length_order", "dapo"])
@pytest.mark.parametrize("name", ["gsm8k_0.5b", "deepscaler_1.5b", "gsm8k_0.5b_embedded", "deepscaler_7b_embedded"])
def test_the_arms_of_a_table_stay_different_under_its_experiment(name, arm):
    job, _ = validated(f"experiment={name}", f"baseline={arm}")
    alone, _ = validated(f"baseline={arm}")
    assert job.curriculum == alone.curriculum
    assert as_written(job.signal) == as_written(alone.signal)
    assert job.admission == alone.admission
    assert job.algorithm.advantage == alone.algorithm.advantage
    assert job.algorithm.objective.clip == alone.algorithm.objective.clip


def test_experiments_have_distinct_directories():
    assert len({validated(f"experiment={name}")[1] for name in NAMES}) == len(NAMES)


def test_no_two_cells_of_the_paper_are_the_same_run():
    marks = {settings(f"experiment={name}"): name for name in PAPER}
    assert set(PAPER) - set(marks.values()) <= {"ablation_full"}  # which is gsm8k_0.5b, under a name of its own


def test_every_paper_cell_exists_at_the_embedded_scale():
    assert {f"{name}_embedded" for name in PAPER} <= set(NAMES)


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("_embedded")])
def test_embedded_experiments_need_no_download(name):
    job, _ = validated(f"experiment={name}")
    assert job.model._target_ == "gainrl.models.tiny.TinyModel"
    assert job.dataset._target_ in GENERATED


def test_the_scaled_settings_of_the_released_scripts():
    small, _ = validated("experiment=gsm8k_0.5b")
    large, _ = validated("experiment=deepscaler_1.5b")
    draws = [job.schedule.prompts_per_step * job.schedule.steps_per_epoch for job in (small, large)]
    assert draws == [256, 1024]
    updates = [job.schedule.prompts_per_step // (job.algorithm.minibatch_prompts or 256) for job in (small, large)]
    assert updates == [1, 4]
    for job in (small, large):
        assert job.schedule.steps == 200
        assert job.algorithm.group_size == 8
        assert job.optimizer.optimizer.lr == 1e-6
        assert job.algorithm.objective.beta == 0.001
    assert list(large.eval.sets) == ["gsm8k", "math500", "amc23", "aime24", "olympiadbench", "minerva"]


def test_the_readme_lists_every_experiment():
    text = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"`{name}`" not in text] == []
