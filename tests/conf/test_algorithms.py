"""Presets are frozen: a changed value is another algorithm and needs another name."""

from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from gainrl.functional.advantages import AdvantageSettings
from gainrl.functional.formulas import describe, ineffective_knobs
from gainrl.functional.objectives import Objective
from gainrl.functional.values import ValueSettings
from tests.composition import composed

FOLDER = Path(__file__).parents[2] / "conf" / "algorithm"
OBJECTIVE = {
    "ratio": "token",
    "clip": "symmetric",
    "epsilon": 0.2,
    "epsilon_high": None,
    "delta": None,
    "aggregation": "token_mean",
    "kl_estimator": "k3",
    "kl_placement": "loss",
    "kl_ratio_corrected": False,
    "beta": 0.0,
    "entropy_coefficient": 0.0,
}
OVERLONG = "${default_overlong}"  # null, but under debug=fast: tests/conf/test_debug_fast.py
ADVANTAGE = {"baseline": "mean", "scale": "group", "ddof": 1, "eps": 1e-4}
TRAINER = {"group_size": 8, "inner_epochs": 1, "truncated": "keep", "overlong": OVERLONG, "reference_sync": None}

# Name: what differs from the values above in objective, advantage and trainer, and the loss it comes to.
PRESETS = {
    "grpo": (
        {"aggregation": "sequence_mean", "beta": 0.04},
        {},
        {},
        "1/S Σ_i 1/L_i Σ_t [ -min(ρ_t·A, clip(ρ_t, 0.8, 1.2)·A) + 0.04·k3 ]",
    ),
    "dr_grpo": (
        {"aggregation": "constant"},
        {"scale": "none"},
        {},
        "1/(S·T) Σ_i Σ_t [ -min(ρ_t·A, clip(ρ_t, 0.8, 1.2)·A) ]",
    ),
    "dapo": (
        {"clip": "higher", "epsilon_high": 0.28},
        {},
        {"overlong": {"buffer_fraction": 0.2}},
        "1/N Σ_i Σ_t [ -min(ρ_t·A, clip(ρ_t, 0.8, 1.28)·A) ]",
    ),
    "bnpo": ({}, {}, {}, "1/N Σ_i Σ_t [ -min(ρ_t·A, clip(ρ_t, 0.8, 1.2)·A) ]"),
    "spo": (
        {"clip": "higher", "epsilon_high": 0.28},
        {"baseline": "tracker", "scale": "batch"},
        {"group_size": 1},
        "1/N Σ_i Σ_t [ -min(ρ_t·A, clip(ρ_t, 0.8, 1.28)·A) ]",
    ),
    "gspo": (
        {"ratio": "sequence", "clip": "higher", "epsilon": 3e-4, "epsilon_high": 4e-4, "aggregation": "sequence_mean"},
        {},
        {},
        "1/S Σ_i 1/L_i Σ_t [ -min(ρ_i·A, clip(ρ_i, 0.9997, 1.0004)·A) ]",
    ),
    "cispo": (
        {"clip": "cispo", "epsilon": None, "epsilon_high": 4.0},
        {},
        {},
        "1/N Σ_i Σ_t [ -sg[min(ρ_t, 5)]·A·lp_t ]",
    ),
    "rloo": (
        {
            "clip": "none",
            "epsilon": None,
            "aggregation": "sequence_sum",
            "kl_estimator": "k1",
            "kl_placement": "reward",
            "beta": 0.05,
        },
        {"baseline": "leave_one_out", "scale": "none"},
        {},
        "1/S Σ_i Σ_t [ -ρ_t·A ]",
    ),
    "reinforce_pp": (
        {"kl_estimator": "k1", "kl_placement": "reward", "beta": 0.01},
        {"baseline": "none", "scale": "tokens", "eps": 1e-8},
        {},
        "1/N Σ_i Σ_t [ -min(ρ_t·A, clip(ρ_t, 0.8, 1.2)·A) ]",
    ),
    "ppo": (
        {"kl_estimator": "k1", "kl_placement": "reward", "beta": 0.05},
        {"baseline": "none", "scale": "tokens", "eps": 1e-8},
        {"inner_epochs": 4},
        "1/N Σ_i Σ_t [ -min(ρ_t·A, clip(ρ_t, 0.8, 1.2)·A) ]",
    ),
    "gainrl_trl": (
        {"clip": "none", "epsilon": None, "aggregation": "sequence_mean", "beta": 0.005},
        {},
        {},
        "1/S Σ_i 1/L_i Σ_t [ -ρ_t·A + 0.005·k3 ]",
    ),
    "gainrl_verl": (
        {"clip": "dual", "delta": 3.0, "beta": 0.001},
        {"eps": 1e-6},
        {},
        "1/N Σ_i Σ_t [ -min(ρ_t·A, clip(ρ_t, 0.8, 1.2)·A) (at most -3·A where A < 0) + 0.001·k3 ]",
    ),
}


def load(name):
    preset = OmegaConf.to_container(composed(f"algorithm={name}").algorithm)
    assert preset.pop("_target_") == "gainrl.training.algorithm.Algorithm"
    targets = [preset[node].pop("_target_") for node in ("objective", "advantage")]
    assert targets == ["gainrl.functional.objectives.Objective", "gainrl.functional.advantages.AdvantageSettings"]
    return preset


def leaves(node, path=()):
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "grpo"])
def test_a_preset_states_what_differs_from_grpo_and_nothing_else(name):
    base, own = (yaml.safe_load((FOLDER / f"{each}.yaml").read_text(encoding="utf-8")) for each in ("grpo", name))
    assert own.pop("defaults") == ["grpo", "_self_"]
    same = dict(leaves(base)).items() & {item for item in leaves(own) if not isinstance(item[1], list)}
    assert not same


@pytest.mark.parametrize("name", PRESETS)
def test_the_values_of_a_preset_are_frozen(name):
    objective, advantage, trainer, _ = PRESETS[name]
    preset = load(name)
    assert preset["objective"] == OBJECTIVE | objective
    assert preset["advantage"] == ADVANTAGE | advantage
    assert {key: preset[key] for key in TRAINER} == TRAINER | trainer


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_comes_to_its_loss_and_sets_nothing_without_effect(name):
    preset = load(name)
    objective, advantage = Objective(**preset["objective"]), AdvantageSettings(**preset["advantage"])
    assert describe(objective, advantage).splitlines()[0] == f"loss = {PRESETS[name][3]}"
    remarks = ineffective_knobs(objective, advantage)
    expected = {"objective.kl_estimator"} if objective.beta == 0 else set()
    expected |= {"advantage.ddof"} if advantage.scale == "none" else set()
    assert {remark.split(" ")[0] for remark in remarks} == expected


def test_the_critic_of_ppo_is_frozen_and_part_of_its_formula():
    preset = load("ppo")
    critic = preset["critic"]
    assert critic.pop("_target_") == "gainrl.training.critic.CriticSettings"
    assert critic["value"].pop("_target_") == "gainrl.functional.values.ValueSettings"
    value = {"gamma": 1.0, "lam": 0.95, "epsilon": 0.2, "coefficient": 0.1}
    assert critic == {"value": value, "trunk": "shared", "learning_rate": 1e-3}
    objective, advantage = Objective(**preset["objective"]), AdvantageSettings(**preset["advantage"])
    assert describe(objective, advantage, ValueSettings(**value)).splitlines() == [
        "loss = 1/N Σ_i Σ_t [ -min(ρ_t·A, clip(ρ_t, 0.8, 1.2)·A) ] + 0.1·L_V",
        "  N tokens of the optimizer step",
        "  ρ_t = exp(lp_t - lo_t)",
        "  k1 = d, d = lo_t - lr_t",
        "L_V = 1/N Σ_i Σ_t max((V_t - R_t)², (clip(V_t, Vo_t ± 0.2) - R_t)²) / 2, R_t = Â_t + Vo_t",
        "Â_t = δ_t + 0.95·Â_(t+1), δ_t = r_t + 1·Vo_(t+1) - Vo_t",
        "  r_t = reward at the last token, 0 before - 0.05·k1_t",
        "A_t = (Â_t - mean Â) / (std Â + 1e-08), mean and std over all tokens of the step, ddof=1",
    ]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_cites_its_source(name):
    head = [line for line in (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines() if line[:1] == "#"]
    assert any("arXiv" in line for line in head)
