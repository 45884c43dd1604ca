"""Every data, evaluation, template and model option names something that exists and takes the keys it is given."""

import importlib
import inspect
import os
from functools import cache

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from tests.composition import CONF

DATA = os.environ.get("GAINRL_DATA", "")
needs_data = pytest.mark.skipif(not DATA, reason="GAINRL_DATA does not name the folder with the published data sets")
OPTIONS = [
    f"{group}/{path.stem}"
    for group in ("dataset", "template", "model", "eval")
    for path in sorted((CONF / group).glob("*.yaml"))
]


@cache
def composed(option):
    with initialize_config_dir(str(CONF), version_base=None):
        # null, as the root of the configuration has it
        config = compose(option, overrides=[f"+data_dir={DATA or 'null'}"])
    return config, config[option.split("/")[0]]


def targets(node):
    if OmegaConf.is_dict(node):
        if "_target_" in node:
            yield node
        for key in node:
            yield from () if OmegaConf.is_missing(node, key) else targets(node[key])


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_composes_and_its_keys_are_parameters_of_its_target(option):
    for node in targets(composed(option)[1]):
        module, _, name = node["_target_"].rpartition(".")
        parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
        assert set(node) - {"_target_"} <= set(parameters)
        required = {key for key, p in parameters.items() if p.default is p.empty}
        assert required <= set(node)


@needs_data
@pytest.mark.parametrize("option", [f"eval/{suite}" for suite in ("math_suite", "code_suite")])
def test_suites_hold_their_sets_and_load_no_training_data(option, tmp_path):
    sizes = {}
    for name, node in composed(option)[1]["sets"].items():
        splits = instantiate(node, cache_dir=str(tmp_path))
        assert splits.train is None
        sizes[name] = len(splits.held_out)
    assert (
        sizes
        == {
            "eval/math_suite": {
                "gsm8k": 1319,
                "math500": 500,
                "amc23": 83,
                "aime24": 30,
                "olympiadbench": 675,
                "minerva": 272,
            },
            "eval/code_suite": {"humaneval": 164, "mbpp": 500, "codecontests": 165},
        }[option]
    )


@pytest.mark.parametrize("name", [option for option in OPTIONS if option.startswith("template/")])
def test_templates_can_be_made(name):
    assert instantiate(composed(name)[1]).user_text("Why?").startswith("Why?")


def test_procedural_tasks_of_the_configuration_draw(tmp_path):
    splits = instantiate(composed("dataset/reasoning_gym")[1], size=20, held_out_size=5, cache_dir=str(tmp_path))
    assert (len(splits.train), len(splits.held_out)) == (20, 5)
