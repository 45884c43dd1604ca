"""Every data, evaluation, template and model option names something that exists and takes the keys it is given."""

import importlib
import inspect
from functools import cache

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from tests.composition import CONF
from tests.composition import composed as composition
from tests.published_data import DATA, needs_data

MATH = ("gsm8k", "math", "amc", "aime", "deepscaler", "olympiadbench", "minerva")
CODE = ("mbpp", "humaneval", "codecontests", "deepcoder")
OPTIONS = [
    f"{group}/{path.stem}"
    for group in ("dataset", "template", "model", "eval")
    for path in sorted((CONF / group).glob("*.yaml"))
]


@cache
def composed(option):
    group, name = option.split("/")
    with initialize_config_dir(str(CONF), version_base=None):
        # In the place that it is made for: a data set also chooses the template and the reward beside it.
        config = compose("config", overrides=[f"{group}={name}", f"data_dir={DATA or 'null'}"])
    return config, config[group]


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


@pytest.mark.parametrize(
    "name", [option for option in OPTIONS if option.startswith("template/") and option != "template/by_source"]
)
def test_templates_can_be_made(name):
    assert instantiate(composed(name)[1]).user_text("Why?").startswith("Why?")


def test_procedural_tasks_of_the_configuration_draw(tmp_path):
    splits = instantiate(composed("dataset/reasoning_gym")[1], size=20, held_out_size=5, cache_dir=str(tmp_path))
    assert (len(splits.train), len(splits.held_out)) == (20, 5)


# --------------------------------------------------------------------- what a choice brings with it


@pytest.mark.parametrize(
    ("names", "template", "reward"),
    [
        (MATH, "paper", "math"),
        (CODE, "code", "code"),
        (("jsonl",), "boxed", "math"),
        (("reasoning_gym",), "boxed", "procedural"),
        (("arithmetic",), "arithmetic", "procedural"),
        (("small_programs",), "small_programs", "code"),
    ],
)
def test_a_data_set_brings_the_template_and_the_reward_that_suit_it(names, template, reward):
    for name in names:
        config, _ = composed(f"dataset/{name}")
        assert config.template == composed(f"template/{template}")[1]
        assert config.reward == composed(f"reward/{reward}")[1]


@pytest.mark.parametrize("command", ["config", "evaluate", "rank", "observe"])
def test_what_is_typed_wins_over_what_a_data_set_brings(command):
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose(command, ["dataset=gsm8k", "template=plain", "reward=format"])
    assert config.template.chat == "plain"
    assert config.reward._target_.endswith("FormatReward")


def test_the_short_command_of_the_paper_is_its_experiment():
    def decisive(*overrides):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("config", [*overrides, "run=null"])
        return OmegaConf.to_container(config, resolve=True)

    short = decisive("model=qwen2.5_0.5b", "dataset=gsm8k")
    assert short == decisive("experiment=gsm8k_0.5b")
    assert short["optimizer"]["optimizer"]["lr"] == 1e-6
    assert short["schedule"]["prompts_per_step"] == 256
    assert short["rollout"]["max_new_tokens"] == 512


@pytest.mark.parametrize("model", [path.stem for path in (CONF / "model").glob("*.yaml") if path.stem != "tiny"])
def test_a_pretrained_model_is_trained_with_a_step_size_of_its_own(model):
    small = model.startswith("smollm2")  # few steps on a CPU, at a rate that moves it
    assert composed(f"model/{model}")[0].optimizer.optimizer.lr == (3.0e-5 if small else 1e-6)


def test_an_evaluation_suite_leaves_the_training_set_its_template():
    assert composed("eval/code_suite")[0].template == composed("eval/held_out")[0].template


def test_the_judge_of_a_source_reads_how_its_own_template_thinks():
    parts = {"dataset": "dataset.sources", "template": "template.templates", "reward": "reward.rewards"}
    options = {"dataset": "jsonl", "template": "boxed", "reward": "math"}
    config = composition(
        *("dataset=mixture", "template=by_source", "reward=by_source"),
        *(f"+{group}@{path}.{name}={options[group]}" for group, path in parts.items() for name in ("a", "b")),
        *("template.templates.a.thinking=none", "template.templates.b.thinking=required"),
    )
    assert [config.reward.rewards[name].thinking for name in ("a", "b")] == ["none", "required"]
    one = composition("template=boxed", "reward=by_source", "+reward@reward.rewards.a=math", "template.thinking=none")
    assert one.reward.rewards.a.thinking == "none"
