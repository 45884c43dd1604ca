"""Malformed settings: values of another type or out of range, names that nothing has, and syntax that means nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, ListConfig

from benchmarks.malformed.case import BASE, DATA, Case
from benchmarks.malformed.data import good_rows, lines
from gainrl.app.paths import config_dir

_OTHER_TYPES = {
    bool: ("maybe", "[true]", "{a: 1}"),
    int: ("many", "[1,2]", "{a: 1}"),
    float: ("many", "[0.1]", "{a: 1}"),
}
# Numbers and words of the right type that still cannot be.
OUT_OF_RANGE = (
    *("schedule.steps=0", "schedule.steps=-3", "schedule.prompts_per_step=0", "schedule.steps_per_epoch=0"),
    *("algorithm.group_size=1", "algorithm.group_size=-1", "algorithm.minibatch_prompts=5", "algorithm.inner_epochs=0"),
    *("algorithm.micro_batch_size=0", "algorithm.micro_batch_tokens=0", "algorithm.truncated=never"),
    *("rollout.temperature=0", "rollout.temperature=-1", "rollout.top_p=0", "rollout.top_p=1.5", "rollout.top_k=-1"),
    *(
        "rollout.max_new_tokens=0",
        "rollout.max_new_tokens=256",
        "seed=-1",
        "evaluation.every=0",
        "evaluation.samples=-1",
    ),
    *("evaluation.limit=0", "evaluation.temperature=-1", "concentration.tokens=all", "concentration.layer=99"),
    *("trainer.precision=16-mixed", "trainer.precision=8", "trainer.devices=4", "trainer.strategy=none"),
    *("faults.nonfinite_limit=0", "faults.reward_failure_rate=1.5", "faults.reward_failure_rate=-0.1"),
    *("checkpoint.mode=most", "checkpoint.keep=0", "checkpoint.every_steps=0", "records.rollouts_every=0"),
    *("model.hidden_size=63", "model.heads=0", "model.layers=0", "model.architecture=mamba", "model.max_length=0"),
    *("optimizer.optimizer.lr=-1", "optimizer.max_grad_norm=-1", "algorithm.objective.clip_low=-1"),
    *("reward.fallback=first", "reward.workers=0", "reward.time_limit_seconds=0", "reward.correct_value=nan"),
    *("reward.wrong_value=1e308", "reward.memory_limit_megabytes=-1", "reward.batch_limit_seconds=nan"),
)


@cache
def leaves() -> tuple[tuple[str, type], ...]:
    """Every path of the composed configuration that holds a number or a truth value."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("config", [setting for setting in BASE if not setting.startswith("hydra.")])
    return tuple(_leaves(config, ""))


def _leaves(node: Any, path: str) -> Iterator[tuple[str, type]]:
    for key in node:
        if str(key).startswith("_") or (path == "" and key in ("run", "logger", "identity_excludes", "profile")):
            continue
        below = node._get_node(key)
        name = f"{path}.{key}" if path else str(key)
        if isinstance(below, DictConfig) and not (below._is_none() or below._is_missing()):
            yield from _leaves(below, name)
        elif not isinstance(below, (DictConfig, ListConfig)) and type(below._value()) in _OTHER_TYPES:
            yield name, type(below._value())


def _case(name: str, *settings: str, named: tuple[str, ...]) -> Case:
    content = "\n".join(lines(good_rows(random.Random(0)))).encode()
    return Case("settings", name, settings, {DATA: content}, named)


def other_type(rng: random.Random) -> Case:
    path, kind = rng.choice(leaves())
    setting = f"{path}={rng.choice(_OTHER_TYPES[kind])}"
    return _case("another type", setting, named=(path.rpartition(".")[2],))


def out_of_range(rng: random.Random) -> Case:
    setting = rng.choice(OUT_OF_RANGE)
    return _case("out of range", setting, named=(setting.partition("=")[0].rpartition(".")[2],))


def misspelled(rng: random.Random) -> Case:
    path, _ = rng.choice(leaves())
    head, _, tail = path.rpartition(".")
    place = rng.randrange(len(tail))
    wrong = tail[:place] + rng.choice(["", tail[place] * 2, "q"]) + tail[place + 1 :]
    wrong = wrong if wrong and wrong != tail else f"{tail}q"
    typed = f"{head}.{wrong}" if head else wrong
    return _case("a setting that is not there", f"{typed}=1", named=(wrong,))


def no_option(rng: random.Random) -> Case:
    group = rng.choice(
        ["model", "template", "reward", "dataset", "rollout", "signal", "curriculum", "admission", "algorithm"]
        + ["optimizer", "trainer", "logger", "eval", "baseline", "experiment", "debug", "scale"]
    )
    option = rng.choice(["nothing", "gian", "grop", "a/b", "math.yaml", "1", "Default", "tiny,"])
    return _case("an option that is not there", f"{group}={option}", named=(option.strip(","), group))


def bad_syntax(rng: random.Random) -> Case:
    typed = rng.choice(
        ["schedule.steps", "schedule.steps=[1,2", "seed={a: 1", "=5", "++", "~nothing", "seed=${nowhere}", "seed=???"]
        + [
            "seed=${oc.env:NO_SUCH_VARIABLE}",
            "schedule=5",
            "schedule=null",
            "model=null",
            "seed==1",
            "a b=1",
        ]
        + ["seed='1", "schedule.steps=10)", "~schedule.steps", "reward=null", "+reward.colour=red", "--nothing", "-x"]
        + ["dataset=null", "template=null", "rollout=null", "algorithm=null", "optimizer=null", "trainer=null"]
        + [
            "curriculum=null",
            "signal=null",
            "eval=null",
            "evaluation=null",
            "concentration=5",
            "seed=[0]",
            "seed=1e400",
        ]
    )
    return _case("what means nothing", typed, named=())


GENERATORS = [other_type, misspelled, out_of_range, no_option, bad_syntax, other_type, misspelled]
