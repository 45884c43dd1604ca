"""One comparison or several: runs of one task only, and runs divided by the values of settings (``--within``)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from gainrl.report.arms import arm_settings, short_names
from gainrl.report.reader import Run
from gainrl.report.sweep import Settings, Sweep, make_sweep

_UNSET = "default"


def make_sweeps(runs: Sequence[Run], settings: Settings) -> tuple[list[Sweep], list[Run]]:
    """One sweep per combination of the values of ``settings.within``, one in all without; and runs that give none.

    A difference is only ever taken between runs of one sweep. Runs of a combination without any score yet are returned
    apart. Raises ValueError where no sweep has a score, and for a task or a setting that no run has.
    """
    if settings.task is not None:
        runs = of_task(runs, settings.task)
    if not settings.within:
        return [make_sweep(runs, settings)], []
    divided: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        divided.setdefault(tuple(value_of(run, key) for key in settings.within), []).append(run)
    for place, key in enumerate(settings.within):
        if divided and {values[place] for values in divided} == {_UNSET}:
            raise ValueError(_unknown(key, runs))
    short = short_names(settings.within)
    sweeps, without_score = [], []
    for values, members in sorted(divided.items(), key=lambda item: [_rank(value) for value in item[0]]):
        if any(len(run.evaluations("step", settings.metric)[1]) for run in members):
            block = ", ".join(f"{short[key]}={value}" for key, value in zip(settings.within, values, strict=True))
            sweeps.append(make_sweep(members, settings, block=block))
        else:
            without_score += members
    return (sweeps, without_score) if sweeps else ([make_sweep(runs, settings)], [])


def value_of(run: Run, key: str) -> str:
    """What a run has for a setting: the experiment, what was typed, or the value in its configuration."""
    if key == "experiment":
        return run.experiment or "none"
    typed = arm_settings(run)
    if key in typed:
        return typed[key]
    node: object = run.config
    for name in key.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return _UNSET if node is None or isinstance(node, Mapping | list) else str(node)


def of_task(runs: Sequence[Run], task: str) -> list[Run]:
    """The runs of one experiment. Raises ValueError, with the tasks there are, where it has none."""
    chosen = [run for run in runs if run.experiment == task]
    if runs and not chosen:
        names = sorted({run.experiment or "no experiment" for run in runs})
        near = difflib.get_close_matches(task, names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"--task={task} has no run; {hint}the tasks are: {', '.join(names)}")
    return chosen


def _unknown(key: str, runs: Sequence[Run]) -> str:
    names = sorted({name for run in runs for name in arm_settings(run)})
    near = difflib.get_close_matches(key, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"--within={key} is no setting of these runs; {hint}what was typed: {', '.join(names) or 'nothing'}"


def _rank(value: str) -> tuple[bool, float, str]:
    """Numbers by size, before words by the alphabet."""
    try:
        return (False, float(value), "")
    except ValueError:
        return (True, 0.0, value)
