"""Every baseline selects all four groups that define an arm, and nothing else."""

import pathlib
from functools import cache

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from gainrl.types import Curriculum
from tests.composition import ARM_GROUPS, CONF

NAMES = [
    "accuracy_only",
    "adarft",
    "angle_inter",
    "angle_intra",
    "angle_no_diagonal",
    "angle_only",
    "bots",
    "dapo",
    "dots",
    "easy_to_hard",
    "gain_rl",
    "gain_rl_knapsack",
    "gain_rl_ppo",
    "gain_rl_ranks",
    "gain_rl_released",
    "goldilocks",
    "goldilocks_once",
    "greso",
    "half_data_angle",
    "half_data_random",
    "hard_to_easy",
    "hardest_fraction",
    "learnability",
    "length_order",
    "matched_block",
    "mopps",
    "oracle",
    "pcl",
    "pcl_once",
    "ppo",
    "prepo",
    "random_order",
    "residual_angle",
    "reversed_angle",
    "sec",
    "source_bandit",
    "spo",
    "static_angle",
    "strict_angle",
    "vanilla_grpo",
    "vcrl",
]


@pytest.fixture(scope="module")
def main_config(tmp_path_factory) -> pathlib.Path:
    """A main config with the four groups alone, and empty algorithms: what they hold is not the matter here."""
    folder = tmp_path_factory.mktemp("conf")
    defaults = [{"curriculum": "uniform"}, {"signal": "angle"}, {"admission": "all"}, {"algorithm": "grpo"}]
    defaults.append({"allocation": "fixed"})
    config = {
        "defaults": [*defaults, "_self_", {"baseline": None}],
        "concentration": {},
        "hydra": {"searchpath": [f"file://{CONF}"]},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "algorithm").mkdir()
    for name in ("grpo", "dr_grpo", "dapo", "ppo", "spo"):
        (folder / "algorithm" / f"{name}.yaml").write_text(f"name: {name}\n")
    return folder


@cache
def composed(folder: pathlib.Path, *overrides: str) -> DictConfig:
    """Shared between tests: not to be changed."""
    with initialize_config_dir(str(folder), version_base="1.3"):
        return compose("config", list(overrides))


def test_the_list_is_complete():
    assert sorted(path.stem for path in (CONF / "baseline").glob("*.yaml")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_names_all_four_groups_and_only_values_of_theirs(name):
    content = yaml.safe_load((CONF / "baseline" / f"{name}.yaml").read_text())
    chosen = {key.removeprefix("override /") for entry in content.pop("defaults") for key in entry}
    assert ARM_GROUPS <= chosen <= ARM_GROUPS | {"allocation"}
    assert set(content) <= {*ARM_GROUPS, "concentration"}  # the last moves the curriculum


@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_composes_and_its_parts_can_be_built(name, main_config):
    config = composed(main_config, f"baseline={name}")
    assert isinstance(instantiate(config.curriculum), Curriculum)
    assert callable(instantiate(config.admission).admit)
    assert "_target_" in config.signal
    plain = {group: OmegaConf.to_container(config[group]) for group in ("curriculum", "admission")}
    for group, values in plain.items():  # no value that its group does not have
        file = "_".join(values["_target_"].split(".")[2:3])
        assert set(values) == set(yaml.safe_load((CONF / group / f"{file}.yaml").read_text()))


def test_no_two_baselines_are_the_same_arm(main_config):
    arms = [OmegaConf.to_yaml(composed(main_config, f"baseline={name}")) for name in NAMES]
    assert len(set(arms)) == len(NAMES)


def test_any_part_of_a_baseline_can_be_swapped_on_the_command_line(main_config):
    config = composed(main_config, "baseline=gain_rl", "signal=length", "algorithm=dr_grpo", "curriculum.width=0.5")
    assert config.signal._target_ == "gainrl.signals.length.LengthSignal"
    assert config.algorithm.name == "dr_grpo"
    assert config.curriculum.width == 0.5
    control = composed(main_config, "baseline=length_order")
    assert control == composed(main_config, "baseline=gain_rl", "signal=length")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reversed_angle", {"reversed": True}),
        ("static_angle", {"update": "none"}),
        ("accuracy_only", {"update": "accuracy_only"}),
        ("angle_only", {"update": "angle_only"}),
        ("half_data_angle", {"keep_fraction": 0.5}),
    ],
)
def test_ablations_differ_from_gain_rl_in_one_value(name, value, main_config):
    arm, reference = composed(main_config, f"baseline={name}"), composed(main_config, "baseline=gain_rl")
    differing = {key: arm.curriculum[key] for key in arm.curriculum if arm.curriculum[key] != reference.curriculum[key]}
    assert differing == value
    assert arm.signal == reference.signal


@pytest.mark.parametrize(
    ("name", "value"),
    [("angle_intra", {"inter": 0.0}), ("angle_inter", {"intra": 0.0}), ("angle_no_diagonal", {"diagonal": False})],
)
def test_ablations_of_the_signal_differ_from_gain_rl_in_one_value(name, value, main_config):
    arm, reference = composed(main_config, f"baseline={name}"), composed(main_config, "baseline=gain_rl")
    assert {key: arm.signal[key] for key in arm.signal if arm.signal[key] != reference.signal[key]} == value
    assert arm.curriculum == reference.curriculum
