"""Which runs belong to one arm, what an arm is called, and which arm the others are compared with."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gainrl.report.reader import BASE_KEYS, Run, is_below

NOT_THE_ARM = {"seed", "experiment", "debug", "hydra", "sweep"}  # and settings that do not decide a run's numbers
_KEY = re.compile(r"[a-z_][a-z0-9_./]*")
_USUAL_REFERENCES = ("vanilla_grpo", "uniform", "baseline=vanilla_grpo", "curriculum=uniform")


@dataclass(slots=True)
class Arm:
    """Runs that differ in nothing but seed, base and task. ``label``: what the arm is called in tables and figures."""

    label: str
    runs: list[Run] = field(default_factory=list)

    def seeds(self, task: str) -> set[tuple[str, int]]:
        """Bases and seeds that the arm has in a task."""
        return {(run.base, run.seed) for run in self.runs if run.task == task}


def group_arms(runs: Sequence[Run], *, without: Sequence[str] = (), by_experiment: bool = False) -> list[Arm]:
    """The arms, by label. A label names only the settings in which arms differ.

    ``without``: settings that make no arm, because runs are compared within their values. ``by_experiment``: whether
    the experiment is a setting like the others.
    """
    settings = [arm_settings(run, without=without, by_experiment=by_experiment) for run in runs]
    arms: dict[str, Arm] = {}
    for run, named in zip(runs, labels_of(settings), strict=True):
        label = named or run.arm
        arms.setdefault(label, Arm(label)).runs.append(run)
    return sorted(arms.values(), key=lambda arm: arm.label)


def labels_of(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """What each of these arms is called: by the settings in which they differ.

    Where they differ in none, by their baseline or by all settings; an arm without any has no name.
    """
    keys = sorted({key for given in settings for key in given})
    varying = [key for key in keys if len({given.get(key) for given in settings}) > 1]
    short = short_names(varying)
    labels = []
    for given in settings:
        parts = [
            _part(key, given[key], short[key], alone=len(varying) == 1) for key in _ordered(varying) if key in given
        ]
        alike = given.get("baseline") or ", ".join(given.values())
        labels.append((", ".join(parts) or "default") if varying else alike)
    return labels


def arm_settings(run: Run, *, without: Sequence[str] = (), by_experiment: bool = False) -> dict[str, str]:
    """The overrides that make the arm, key to value, from the arm's name where nothing else tells them."""
    made = {"experiment": run.experiment or "no experiment"} if by_experiment else {}
    if run.overrides is not None:
        pairs = [text.lstrip("+~").partition("=") for text in run.overrides]
    else:
        pairs = [text.partition("-") for text in run.arm.split(",")]
        if not all(_KEY.fullmatch(key) and value for key, _, value in pairs):
            return {**made, "arm": run.arm}
    chosen = {
        key: value
        for key, _, value in pairs
        if not is_below(key, NOT_THE_ARM) and key not in BASE_KEYS and run.decides_numbers(key)
    }
    return {key: value for key, value in {**made, **chosen}.items() if key not in without}


def _ordered(keys: Sequence[str]) -> list[str]:
    return sorted(keys, key=lambda key: (key != "experiment", key != "baseline", "." in key, key))


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """``curriculum.width`` is called ``width`` where no other varying setting ends so."""
    ends = Counter(key.rsplit(".", 1)[-1] for key in keys)
    return {key: key.rsplit(".", 1)[-1] if ends[key.rsplit(".", 1)[-1]] == 1 else key for key in keys}


def _part(key: str, value: str, name: str, *, alone: bool) -> str:
    plain = key in ("baseline", "arm", "experiment") or (alone and "." not in key)
    return value if plain else f"{name}={value}"


@dataclass(frozen=True, slots=True)
class Reference:
    """The arm that the others are compared with. ``guessed``: why this one, where nobody named it and none is plain."""

    label: str
    guessed: str = ""


def choose_reference(arms: Sequence[Arm], wanted: str | None) -> Reference:
    """``wanted``, else vanilla GRPO or uniform sampling, else the arm with most runs, marked as a guess.

    ``wanted`` may be a label, an arm's directory name, or part of either that fits one arm only. Raises ValueError with
    the labels otherwise.
    """
    labels = [arm.label for arm in arms]
    if wanted is None:
        for name in _USUAL_REFERENCES:
            if name in labels:
                return Reference(name)
        plain = [arm for arm in arms if _is_uniform(arm)]
        if len(plain) == 1 or len(arms) == 1:
            return Reference((plain or arms)[0].label)
        among = plain or list(arms)
        most = max(len(arm.runs) for arm in among)
        reason = f"{len(plain)} arms draw uniformly" if plain else "no arm is vanilla GRPO or uniform draws"
        first = "the first by name" if sum(len(arm.runs) == most for arm in among) > 1 else "the one with most runs"
        return Reference(max(among, key=lambda arm: len(arm.runs)).label, f"{reason}, so it is {first}")
    exact = [arm.label for arm in arms if wanted == arm.label or wanted in {run.arm for run in arm.runs}]
    partly = [arm.label for arm in arms if wanted in arm.label or any(wanted in run.arm for run in arm.runs)]
    fitting = exact or partly
    if len(fitting) == 1:
        return Reference(fitting[0])
    near = difflib.get_close_matches(wanted, labels, n=1)
    hint = f"did you mean {near[0]!r}? " if near and not fitting else ""
    raise ValueError(
        f"--reference={wanted} fits {'several arms' if fitting else 'no arm'}; {hint}the arms are: "
        + "; ".join(fitting or labels)
    )


def _is_uniform(arm: Arm) -> bool:
    config = arm.runs[0].config
    curriculum = str((config.get("curriculum") or {}).get("_target_", ""))
    admission = str((config.get("admission") or {}).get("_target_", ""))
    allocation = str((config.get("allocation") or {}).get("_target_", "FixedAllocation"))
    plain = curriculum.endswith("UniformCurriculum") and admission.endswith("AdmitAll")
    return plain and allocation.endswith("FixedAllocation")
