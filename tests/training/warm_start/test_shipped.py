"""Warm starts that come with the package."""

import json
from dataclasses import asdict, replace
from functools import cache

import pytest
import torch
from hydra.utils import instantiate
from safetensors.torch import load_file

import gainrl.training.warm_start.cache as warm_start
from gainrl.models.tiny import load_saved
from gainrl.training.warm_start.shipped import (
    FOLDER,
    find_shipped,
    load_shipped,
    shipped_bases,
    write_shipped,
)
from gainrl.training.warm_start.supervised import WarmStart
from tests.composition import composed
from tests.training.rig import sums, template_of, tiny_policy

NAMES = ["default-2", *(f"testbed-{seed}" for seed in (0, 1, 3, 4, 5))]
SETTINGS = WarmStart(steps=3, sequences=8, learning_rate=1e-2)
IDENTITY = {"architecture": "llama", "seed": 0}


@cache
def problems():
    return instantiate(composed().dataset, _convert_="all").warm_start


def recipe(name: str, *overrides: str):
    """What decides a warm start, as the command line composes it."""
    experiment, _, seed = name.partition("-")
    chosen = [] if experiment == "default" else [f"experiment={experiment}"]
    config = composed(*chosen, f"model.seed={seed}", *overrides)
    source = instantiate(config.model, _convert_="all")
    template = instantiate(config.template, _convert_="all").bind(source.tokenizer())
    return source.load, source.warm_start, source.identity(), template, problems()


def test_the_list_the_files_and_the_seeds_of_the_experiments_are_the_same():
    assert [base.name for base in shipped_bases()] == NAMES
    assert sorted(path.stem for path in FOLDER.glob("*.safetensors")) == NAMES
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2 * 2**20


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_of_an_experiment_starts_from_the_weights_that_were_shipped(name, tmp_path, monkeypatch):
    monkeypatch.setattr(warm_start, "train_supervised", lambda *given, **options: pytest.fail("trained here"))
    folder = warm_start.warm_started(*recipe(name), cache_dir=tmp_path)
    model, stored = load_saved(str(folder)).model, load_file(FOLDER / f"{name}.safetensors")
    assert {parameter for parameter, _ in model.named_parameters()} == set(stored)
    for parameter, value in model.named_parameters():
        assert torch.equal(value, stored[parameter].float())
    (base,) = (base for base in shipped_bases() if base.name == name)
    graded = [level for level in base.levels if 0.1 <= level <= 0.9]
    assert len(base.levels) == 7
    assert len(graded) >= 3


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.seed=5",),
        ("model.warm_start.stop_at=0.5",),
        ("model.warm_start.seed=1",),
        ("model.warm_start.shipped=false",),
        ("model.architecture=qwen2",),
        ("template.system=Add.",),
        ("experiment=testbed_equal_length",),
    ],
    ids=str,
)
def test_another_recipe_is_trained_on_the_machine_at_hand(overrides):
    assert find_shipped(*recipe("default-2")).name == "default-2"
    assert find_shipped(*recipe("default-2", *overrides)) is None


def test_other_problems_are_another_recipe():
    load, settings, identity, template, whole = recipe("default-2")
    assert find_shipped(load, settings, identity, template, whole.select(range(len(whole) - 1))) is None


def written(folder, **changes):
    policy = tiny_policy()
    settings = replace(SETTINGS, **changes)
    return write_shipped("a", policy, settings, IDENTITY, template_of(policy), sums().train, [0.5], folder), policy


def test_a_base_comes_back_as_it_was_but_for_rounding(tmp_path):
    base, policy = written(tmp_path)
    other = tiny_policy(seed=1)
    load_shipped(base, other, tmp_path)
    for (name, value), (_, given) in zip(other.model.named_parameters(), policy.model.named_parameters(), strict=True):
        assert torch.equal(value, given.bfloat16().float()), name
    assert find_shipped(tiny_policy, SETTINGS, IDENTITY, template_of(policy), sums().train, tmp_path) == base


def test_writing_a_base_again_replaces_it(tmp_path):
    written(tmp_path, steps=4)
    base, _ = written(tmp_path)
    assert shipped_bases(tmp_path) == [base]


def test_a_damaged_file_is_refused_with_what_to_do(tmp_path):
    base, policy = written(tmp_path)
    path = tmp_path / base.file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.safetensors is damaged.*model\.warm_start\.shipped=false"):
        load_shipped(base, policy, tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match="damaged"):
        load_shipped(base, policy, tmp_path)


def test_a_setting_that_is_newer_than_the_file_counts_with_its_default(tmp_path):
    base, policy = written(tmp_path)
    entry = asdict(base)
    del entry["warm_start"]["max_grad_norm"]
    (tmp_path / "bases.json").write_text(json.dumps([entry]))
    found = find_shipped(tiny_policy, SETTINGS, IDENTITY, template_of(policy), sums().train, tmp_path)
    assert found is not None
    changed = replace(SETTINGS, max_grad_norm=0.5)
    assert find_shipped(tiny_policy, changed, IDENTITY, template_of(policy), sums().train, tmp_path) is None
