"""The runs that are compared: arms, tasks, bases and seeds, the scores of a run, and the budgets of areas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from gainrl.functional.contrasts import Over
from gainrl.report.arms import Arm, choose_reference, group_arms
from gainrl.report.duplicates import drop_repeated, equal_arms
from gainrl.report.reader import Run

Stratum = tuple[str, str]
"""A task and a base: what runs must share to be compared."""
Pairing = Literal["auto", "paired", "unpaired"]


NO_GATE = ""
"""A gate that nobody has to pass, whatever the arms are called."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the reader of a report chooses.

    ``margin``: the smallest improvement that matters, in units of ``metric``; with ``margin_share`` it is that
    share of the gate's gain over the reference instead. ``gate``: the positive control, an arm that must beat the
    reference before any other is judged; None for an arm called ``oracle`` where there is one, `NO_GATE` for none
    at all. ``pairing``: whether runs of one seed are paired; ``auto`` pairs them where arms correlate over seeds by
    more than .3. ``over``: whether the base or the seed is the unit. ``last``: evaluations at the end over which
    the final score is averaged. ``target_of``: whether a target is a share of the reference's final score
    (``level``) or of its way from first to final score (``gain``). ``primary``: the score that is judged, ``final``
    or the ``area`` over ``axis``; the others are shown beside it. ``budget``: where areas end, None for what the
    reference's runs spend (median). ``task``: the one experiment whose runs are compared. ``within``: settings in
    whose values the comparison is repeated, each with a reference of its own. ``arms``: what makes an arm,
    ``settings`` or also the ``experiment``.
    """

    reference: str | None = None
    metric: str = "eval/accuracy"
    axis: str = "generated_tokens"
    margin: float = 0.01
    margin_share: float | None = None
    gate: str | None = None
    pairing: Pairing = "auto"
    over: Over = "bases"
    targets: tuple[float, ...] = (0.6, 0.8, 0.95)
    target_of: str = "level"
    last: int = 3
    alpha: float = 0.05
    seed: int = 0
    partial: bool = False
    primary: str = "final"
    budget: float | None = None
    task: str | None = None
    within: tuple[str, ...] = ()
    arms: str = "settings"

    def __post_init__(self) -> None:
        if self.margin <= 0 or (self.margin_share is not None and not 0 < self.margin_share <= 1):
            raise ValueError(
                f"--margin={self.margin_share or self.margin} must be positive: the smallest improvement that would "
                "matter, in units of the metric, or its share of the gate's gain; type --margin 0.01 or --margin 50%"
            )
        if self.last < 1 or not 0 < self.alpha < 1:
            raise ValueError(
                f"--last={self.last}, --alpha={self.alpha}: type --last 1 or more, and --alpha between 0 and 1"
            )
        if not self.targets or not all(0 < share <= 1 for share in self.targets):
            raise ValueError(f"--targets={self.targets}: give shares in (0, 1], such as --targets 0.6 0.8 0.95")
        for name, given, known in (
            ("primary", self.primary, ("final", "area")),
            ("arms", self.arms, ("settings", "experiment")),
            ("pairing", self.pairing, ("auto", "paired", "unpaired")),
            ("over", self.over, ("bases", "seeds")),
        ):
            if given not in known:
                raise ValueError(f"--{name}={given} is not known; type --{name} {' or '.join(known)}")

    @property
    def level(self) -> float:
        return 1 - self.alpha


@dataclass(slots=True)
class Sweep:
    """Arms with the reference first and the others by final score; only runs that can be compared are in ``chosen``.

    ``guessed``: why the reference was taken, where nobody named it. ``gate``: label of the positive control.
    ``repeated``: runs left out because another has their arm, base and seed, or their very trajectory. ``same``: arms
    whose runs repeat an earlier arm. ``block``: what all runs share where a comparison is repeated, such as
    ``group_size=4``. ``only``: the one task that is looked at.
    """

    settings: Settings
    arms: list[Arm]
    reference: str
    partial: bool
    repeated: list[Run]
    guessed: str = ""
    gate: str | None = None
    same: Mapping[str, str] = field(default_factory=dict)
    block: str = ""
    only: str | None = None
    _budgets: dict[tuple[str, str], float] = field(default_factory=dict)

    @property
    def labels(self) -> list[str]:
        return [arm.label for arm in self.arms]

    @property
    def others(self) -> list[str]:
        return [label for label in self.labels if label != self.reference]

    @property
    def tasks(self) -> list[str]:
        return sorted({run.task for arm in self.arms for run in arm.runs if self.only in (None, run.task)})

    def of_task(self, task: str) -> Sweep:
        """The same arms in one task."""
        return replace(self, only=task)

    def where(self, task: str | None = None) -> str:
        """Words that follow a caption: the block, and the task where there are several."""
        task = task if task is not None and len(self.tasks) > 1 else self.only
        parts = [f" with {self.block}" if self.block else "", "" if task is None else f" in {task or 'no experiment'}"]
        return "".join(parts)

    def ending(self, task: str | None = None) -> str:
        """The same for the name of a file."""
        name = self.where(task).removeprefix(" with ").removeprefix(" in ").replace(" in ", "_")
        return "_" + "".join(letter if letter.isalnum() else "_" for letter in name) if name else ""

    def all_runs(self) -> list[Run]:
        return [run for arm in self.arms for run in arm.runs]

    def bases(self) -> list[str]:
        """The bases of the runs that are compared."""
        return sorted({run.base for label in self.labels for run in self.chosen(label)})

    def chosen(self, label: str, task: str | None = None) -> list[Run]:
        """Runs of an arm that are compared, by seed: finished and evaluated, or with ``partial`` all with a curve."""
        arm = next(arm for arm in self.arms if arm.label == label)
        task = self.only if task is None else task
        return sorted(
            (run for run in arm.runs if task in (None, run.task) and self._counts(run)),
            key=lambda run: (run.base, run.seed),
        )

    def strata(self, label: str) -> dict[Stratum, list[Run]]:
        """The runs of an arm by task and base."""
        cells: dict[Stratum, list[Run]] = {}
        for run in self.chosen(label):
            cells.setdefault((run.task, run.base), []).append(run)
        return dict(sorted(cells.items()))

    def _counts(self, run: Run) -> bool:
        measured = len(run.evaluations("step", self.settings.metric)[1])
        return (run.finished and measured >= 1) or (self.partial and measured >= 2)

    def common_step(self, task: str) -> float:
        """The largest step that every compared run of the task has reached, where unfinished runs are compared."""
        if ("step", task) not in self._budgets:
            chosen = [run for label in self.labels for run in self.chosen(label, task)]
            ends = [steps[-1] for run in chosen if len(steps := run.evaluations("step", self.settings.metric)[0])]
            self._budgets["step", task] = float(min(ends)) if ends else 0.0
        return self._budgets["step", task]

    def budget(self, axis: str, task: str) -> float:
        """Where areas over an axis end: as chosen, else what a run of the reference spends (median).

        It depends on no other arm, so an area stays what it is whoever else is in the report.
        """
        if self.settings.budget is not None and axis == self.settings.axis:
            return self.settings.budget
        if (axis, task) not in self._budgets:
            ends = []
            for run in self.chosen(self.reference, task):
                steps = run.evaluations("step", self.settings.metric)[0]
                budgets = run.evaluations(axis, self.settings.metric)[0]
                kept = budgets[: (steps <= self.common_step(task)).sum()] if self.partial else budgets
                ends += [float(kept[-1])] if len(kept) else []
            self._budgets[axis, task] = float(np.median(ends)) if ends else 0.0
        return self._budgets[axis, task]

    def pays_extra_rollouts(self) -> bool:
        """Whether arms spent different numbers of rollouts per prompt trained on: by screening or by refilling."""
        rates = [
            float(np.median([run.columns["rollouts"][-1] / max(run.columns["prompts_seen"][-1], 1.0) for run in runs]))
            for label in self.labels
            if (runs := [run for run in self.chosen(label) if {"rollouts", "prompts_seen"} <= set(run.columns)])
        ]
        return bool(rates) and max(rates) > 1.1 * min(rates)

    def final_steps(self, run: Run) -> np.ndarray:
        """Steps of the evaluations whose mean is the final score: the `Settings.last` ones, a quarter at most."""
        steps, _ = run.evaluations("step", self.settings.metric)
        if self.partial:
            steps = steps[steps <= self.common_step(run.task)]
        return steps[-max(1, min(self.settings.last, (len(steps) - 1) // 4)) :]

    def final_score(self, run: Run) -> float:
        steps, scores = run.evaluations("step", self.settings.metric)
        return float(scores[np.isin(steps, self.final_steps(run))].mean())

    def first_score(self, run: Run) -> float:
        return float(run.evaluations("step", self.settings.metric)[1][0])


def make_sweep(runs: Sequence[Run], settings: Settings, *, block: str = "") -> Sweep:
    """Groups runs into arms. Of two runs of one arm, task, base and seed, the finished one counts, else the later one.

    A trajectory that an arm has twice, under another task or seed, counts once. Where nothing has finished yet,
    unfinished runs are compared up to the step that all of them have reached. Raises ValueError if no run has a score.
    """
    by_experiment = settings.arms == "experiment"
    if by_experiment:
        runs = [replace(run, task="") for run in runs]
    arms = group_arms(runs, without=settings.within, by_experiment=by_experiment)
    if not arms:
        raise ValueError("no runs found: the directory of a run that has begun holds record.json")
    repeated = [run for arm in arms for run in drop_repeated(arm)]
    reference = choose_reference(arms, settings.reference)
    sweep = Sweep(settings, arms, reference.label, settings.partial, repeated, reference.guessed, block=block)
    if not any(sweep.chosen(label) for label in sweep.labels):
        sweep.partial = True
    scores = {label: [sweep.final_score(run) for run in sweep.chosen(label)] for label in sweep.labels}
    if not any(scores.values()):
        seen = sorted({name for run in runs for name in run.columns if name.startswith("eval/")})
        raise ValueError(
            f"no run{sweep.where()} has two evaluations with {settings.metric} yet; "
            + (f"--metric can be {', '.join(seen[:12])}" if seen else "wait for the first two evaluations")
        )
    if not scores[sweep.reference] and settings.reference is None:
        usual, sweep.reference = sweep.reference, max(sweep.labels, key=lambda label: len(scores[label]))
        sweep.guessed = f"{usual} has no score yet, so it is the arm with most runs"
    sweep.gate = _gate(sweep)
    means = {label: float(np.mean(values)) if values else -np.inf for label, values in scores.items()}
    sweep.arms.sort(key=lambda arm: (arm.label != sweep.reference, -means[arm.label], arm.label))
    sweep.same = equal_arms(sweep.arms)
    return sweep


def _gate(sweep: Sweep) -> str | None:
    wanted = sweep.settings.gate
    if wanted == NO_GATE:
        return None
    if wanted is None:
        return next((label for label in ("oracle", "baseline=oracle") if label in sweep.others), None)
    if wanted not in sweep.others:
        raise ValueError(f"--gate={wanted} is not among the compared arms: {', '.join(sweep.others)}")
    return wanted
