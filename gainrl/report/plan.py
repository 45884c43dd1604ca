"""The jobs of a multirun, without running any: what Hydra's basic sweeper makes of its parameters and arguments."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser

_LONGEST = 80
PLAN = "multirun.yaml"  # the file beside the jobs of a sweep that says what it was started with
_loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def expand_jobs(
    params: Mapping[str, str], arguments: Sequence[str], loader: ConfigLoader | None = None
) -> list[list[str]]:
    """Overrides of every job, ``key=value`` each, in the order in which they run.

    ``params``: ``hydra.sweeper.params`` of a sweep file; an argument with the same key replaces them. ``loader`` is
    needed for ``glob(...)`` only. Raises ValueError for a range over real numbers, which only a search can draw from.
    """
    texts = [f"{key}={value}" for key, value in params.items()] + list(arguments)
    choices: dict[str, list[str]] = {}
    for override in OverridesParser.create(config_loader=loader).parse_overrides(texts):  # type: ignore[arg-type]
        key = override.get_key_element()
        if not override.is_sweep_override():
            choices[key] = [f"{key}={override.get_value_element_as_str()}"]
        elif override.is_discrete_sweep():
            choices[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            raise ValueError(
                f"{override.input_line} has no list of values; give values such as {key}=0.1,0.2, or use a search "
                "that draws from intervals"
            )
    return [list(job) for job in itertools.product(*choices.values())]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sweep was started with. ``number``: of its jobs; ``jobs``: overrides and directory, empty for a search."""

    number: int
    jobs: tuple[tuple[tuple[str, ...], Path], ...]


def read_plan(path: Path) -> Plan | None:
    """The plan in a ``multirun.yaml``; None where the file is half written or of a sweeper that is not known."""
    try:
        plan = yaml.load(path.read_text(), Loader=_loader)
        hydra = plan["hydra"]
        if "n_trials" in hydra["sweeper"]:
            return Plan(int(hydra["sweeper"]["n_trials"]), ())
        params = {str(key): str(value) for key, value in (hydra["sweeper"].get("params") or {}).items()}
        jobs = expand_jobs(params, hydra["overrides"]["task"])
        naming = hydra["job"]["config"]["override_dirname"]
        seed = str(plan.get("seed", 0))
        return Plan(len(jobs), tuple((tuple(job), path.parent / job_folder(job, naming, seed)) for job in jobs))
    except Exception:
        return None


def job_folder(job: Sequence[str], naming: Mapping[str, Any], seed: str) -> Path:
    """``<arm>/s<seed>``, as ``hydra.sweep.subdir`` has it; ``naming``: ``hydra.job.config.override_dirname``."""
    values = {text.partition("=")[0].lstrip("+~"): text for text in job}
    kept = sorted(text for key, text in values.items() if key not in naming["exclude_keys"])
    arm = arm_name(re.sub("=", naming["kv_sep"], naming["item_sep"].join(kept)))
    return Path(arm) / f"s{values['seed'].partition('=')[2] if 'seed' in values else seed}"


def arm_name(overrides: str) -> str:
    """A directory name from the overrides of a job (seed and machine settings left out): ``default`` for none.

    Characters that file systems or shells treat specially become ``_``. A name that does not say everything, because
    characters were replaced or it is too long, ends in a hash, so that different overrides have different names.
    """
    overrides = re.sub(r"(^|,)\++", r"\1", overrides)  # a setting is the same with and without the sign that adds it
    name = re.sub(r"[^A-Za-z0-9._+,@-]+", "_", overrides).strip("_,.")
    if not overrides:
        return "default"
    if name == overrides and len(name) <= _LONGEST:
        return name
    digest = hashlib.blake2b(overrides.encode(), digest_size=4).hexdigest()
    return f"{name[: _LONGEST - 9]}-{digest}".lstrip("-")


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The settings of a configuration with their dotted paths."""
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, node
