"""Every option composes into a configuration that can run, in a directory of its own."""

import os
from pathlib import Path

import pytest
import yaml
from hydra.utils import instantiate
from omegaconf import OmegaConf

from gainrl.app.validate import validate
from tests.composition import ARM_GROUPS, CONF, composed, directories, options, validated

MAIN = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))["defaults"]
GROUPS = [
    name.removeprefix("optional ")
    for entry in MAIN
    if isinstance(entry, dict)
    for name in entry
    if not name.startswith(("override ", "optional debug_parts/"))
]
BUNDLES = {"baseline", "experiment", "debug", "sweep", "scale"}


# Models and data sets are composed by tests/conf/test_data_and_models.py and test_debug_fast.py.
ELSEWHERE = {"model", "dataset"}
EVERY = [f"{group}={option}" for group in GROUPS if group not in BUNDLES | ELSEWHERE for option in options(group)]
# Built without data and without weights.
CHEAP = ("curriculum", "admission", "reward", "signal", "template", "optimizer")


def filled(*overrides):
    """The configuration with something in every value that its user has to give."""
    config = composed(*overrides)
    missing = OmegaConf.missing_keys(config)
    for path in missing:
        OmegaConf.update(config, path, "given")
    return config, missing


def test_every_folder_of_the_tree_is_a_group_that_something_uses():
    folders = {path.name for path in CONF.iterdir() if path.is_dir()}
    assert set(GROUPS) - {"experiment", "sweep"} <= folders
    assert folders - set(GROUPS) <= {"eval", "debug_parts"}  # of gainrl-evaluate, and of debug=fast


@pytest.mark.parametrize("option", EVERY)
def test_every_option_composes_with_the_rest_and_its_cheap_parts_can_be_built(option, monkeypatch):
    monkeypatch.setattr("gainrl.rollouts.vllm.find_spec", lambda name: name)  # not installed where the suite runs
    config, missing = filled(option)
    validate(config)
    group = option.split("=")[0]
    if missing:
        return  # what its user has to give cannot be made up
    if option == "optimizer=adamw_8bit":
        pytest.importorskip("bitsandbytes", reason="pip install 'gainrl[bitsandbytes]'")
    if group in CHEAP:
        instantiate(config[group], _convert_="all")
    elif group == "rollout":
        instantiate(config.rollout.engine)
        instantiate(config.rollout.mismatch)
    elif group == "algorithm":
        instantiate(config.algorithm.objective)
        instantiate(config.algorithm.advantage)


@pytest.mark.parametrize("name", options("baseline"))
def test_every_baseline_is_a_run(name):
    assert validated(f"baseline={name}")[1] == f"baseline-{name}"


@pytest.mark.parametrize("name", options("debug"))
def test_a_debug_bundle_keeps_the_arm_and_shortens_the_run(name):
    (short, _), (full, _) = filled(f"debug={name}"), filled()
    validate(short)
    assert short.schedule.steps < full.schedule.steps
    assert all(short[group] == full[group] for group in ARM_GROUPS)


def test_a_debug_run_of_the_language_model_is_two_steps_whatever_the_experiment():
    lm = composed("debug=fast", "model=smollm2_135m_q4", "dataset=short_tasks")
    assert (lm.schedule.steps, lm.model.warm_start.steps, lm.dataset.held_out_per_level) == (2, 2, 1)
    assert lm == composed("debug=fast", "experiment=smollm2")
    assert composed("debug=fast", "model=smollm2_135m_q4").model.get("warm_start") is None


# ------------------------------------------------------------------------------------------- directories


ODD = [
    (),
    ("seed=3",),
    ("data_dir=/etc/passwd",),
    ("model=hub", "model.source=../../../up"),
    ("model=hub", "model.source=/absolute/folder"),
    ("model=hub", f"model.source={'long' * 60}"),
    ("debug=fast", "dataset.terms=[2,3]"),
    ("template.system='..'",),
    ("logger=none", "trainer.devices=1"),
]


@pytest.mark.parametrize("overrides", ODD, ids=" ".join)
def test_no_run_leaves_the_folder_that_it_is_started_in(overrides, tmp_path):
    for path in directories(*overrides):
        assert not path.is_absolute()
        inside = Path(os.path.normpath(tmp_path / path))
        assert inside.is_relative_to(tmp_path / "runs")
        assert len(path.parts) >= 3
        assert all(len(part) < 100 for part in path.parts)


def test_different_runs_have_different_directories():
    variants = [
        *ODD[3:7],
        (),
        ("seed=1",),
        ("curriculum.width=0.1",),
        ("curriculum.width=0.2",),
        ("model=hub", "model.source=a/b"),
        ("model=hub", "model.source=a_b"),
    ]
    for folders in zip(*(directories(*overrides) for overrides in variants), strict=True):
        assert len(set(folders)) == len(variants)


def test_settings_that_decide_no_number_share_the_directory():
    plain = directories("seed=1")
    for same in ("data_dir=/data", "logger=none", "records.traceback=true", "records.rollouts_every=5"):
        assert directories("seed=1", same) == plain
