"""The runs that are compared: arms, tasks, seeds and pairs, and the budgets that all of them have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gainrl.report.arms import Arm, choose_reference, group_arms
from gainrl.report.reader import Run


@dataclass(frozen=True, slots=True)
class Settings:
    """What the reader of a report chooses. ``smallest_effect``: in units of ``metric``.

    ``last``: evaluations at the end over which the final score is averaged. ``target_of``: whether a target is a share
    of the reference's final score (``level``) or of its way from first to final score (``gain``). ``primary``: the
    score that is judged, ``final`` or the ``area`` over ``axis``; the others are shown beside it. ``task``: the one
    experiment whose runs are compared. ``within``: settings in whose values the comparison is repeated, each with a
    reference of its own. ``arms``: what makes an arm, ``settings`` or also the ``experiment``.
    """

    reference: str | None = None
    metric: str = "eval/accuracy"
    axis: str = "generated_tokens"
    smallest_effect: float = 0.01
    targets: tuple[float, ...] = (0.6, 0.8, 0.95)
    target_of: str = "level"
    last: int = 3
    alpha: float = 0.05
    draws: int = 2000
    seed: int = 0
    partial: bool = False
    primary: str = "final"
    task: str | None = None
    within: tuple[str, ...] = ()
    arms: str = "settings"

    def __post_init__(self) -> None:
        if self.smallest_effect <= 0:
            raise ValueError(
                f"--smallest-effect={self.smallest_effect} must be positive: the smallest improvement that would "
                "matter, in units of the metric; type --smallest-effect 0.01"
            )
        if self.last < 1 or self.draws < 100 or not 0 < self.alpha < 1:
            raise ValueError(
                f"--last={self.last}, --draws={self.draws}, --alpha={self.alpha}: type --last 1 or more, --draws 100 "
                "or more, and --alpha between 0 and 1"
            )
        if not self.targets or not all(0 < share <= 1 for share in self.targets):
            raise ValueError(f"--targets={self.targets}: give shares in (0, 1], such as --targets 0.6 0.8 0.95")
        for name, given, known in (
            ("primary", self.primary, ("final", "area")),
            ("arms", self.arms, ("settings", "experiment")),
        ):
            if given not in known:
                raise ValueError(f"--{name}={given} is not known; type --{name} {' or '.join(known)}")

    @property
    def level(self) -> float:
        return 1 - self.alpha


@dataclass(slots=True)
class Sweep:
    """Arms with the reference first and the others by final score; only runs that can be compared are in ``chosen``.

    ``guessed``: why the reference was taken, where nobody named it. ``block``: what all runs share where a comparison
    is repeated, such as ``group_size=4``. ``only``: the one task that is looked at.
    """

    settings: Settings
    arms: list[Arm]
    reference: str
    partial: bool
    repeated: list[Run]
    guessed: str = ""
    block: str = ""
    only: str | None = None
    _common: dict[tuple[str, str], float] = field(default_factory=dict)

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

    def chosen(self, label: str, task: str | None = None) -> list[Run]:
        """Runs of an arm that are compared, by seed: finished and evaluated, or with ``partial`` all with a curve."""
        arm = next(arm for arm in self.arms if arm.label == label)
        task = self.only if task is None else task
        return sorted(
            (run for run in arm.runs if task in (None, run.task) and self._counts(run)), key=lambda run: run.seed
        )

    def _counts(self, run: Run) -> bool:
        measured = len(run.evaluations("step", self.settings.metric)[1])
        return (run.finished and measured >= 1) or (self.partial and measured >= 2)

    def pairs(self, label: str, task: str) -> list[tuple[Run, Run]]:
        """Runs of the arm and the reference with the same seed."""
        theirs = {run.seed: run for run in self.chosen(self.reference, task)}
        return [(run, theirs[run.seed]) for run in self.chosen(label, task) if run.seed in theirs]

    def common_budget(self, axis: str, task: str) -> float:
        """The largest budget that every compared run of the task has spent."""
        if (axis, task) not in self._common:
            chosen = [run for label in self.labels for run in self.chosen(label, task)]
            ends = [budgets[-1] for run in chosen if len(budgets := run.evaluations(axis, self.settings.metric)[0])]
            self._common[axis, task] = float(min(ends)) if ends else 0.0
        return self._common[axis, task]

    def pays_extra_rollouts(self) -> bool:
        """Whether arms spent different numbers of rollouts per prompt trained on: by screening or by refilling."""
        rates = [
            float(np.median([run.columns["rollouts"][-1] / max(run.columns["prompts_seen"][-1], 1.0) for run in runs]))
            for label in self.labels
            if (runs := [run for run in self.chosen(label) if {"rollouts", "prompts_seen"} <= set(run.columns)])
        ]
        return bool(rates) and max(rates) > 1.1 * min(rates)

    def final_score(self, run: Run) -> float:
        """Mean of the last evaluations: ``last`` of them, but no more than a quarter of those after the first.

        With ``partial`` they end at the largest step that all compared runs of the task have reached.
        """
        steps, scores = run.evaluations("step", self.settings.metric)
        if self.partial:
            scores = scores[steps <= self.common_budget("step", run.task)]
        count = max(1, min(self.settings.last, (len(scores) - 1) // 4))
        return float(scores[-count:].mean())

    def first_score(self, run: Run) -> float:
        return float(run.evaluations("step", self.settings.metric)[1][0])


def make_sweep(runs: Sequence[Run], settings: Settings, *, block: str = "") -> Sweep:
    """Groups runs into arms. Of two runs of one arm, task and seed, the finished one counts, else the later written.

    Where nothing has finished yet, unfinished runs are compared up to the budget that all of them have. Raises
    ValueError if no run has a score.
    """
    by_experiment = settings.arms == "experiment"
    if by_experiment:
        runs = [replace(run, task="") for run in runs]
    arms = group_arms(runs, without=settings.within, by_experiment=by_experiment)
    if not arms:
        raise ValueError("no runs found: the directory of a run that has begun holds record.json")
    repeated = [run for arm in arms for run in _drop_repeated(arm)]
    reference = choose_reference(arms, settings.reference)
    sweep = Sweep(settings, arms, reference.label, settings.partial, repeated, reference.guessed, block)
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
    means = {label: float(np.mean(values)) if values else -np.inf for label, values in scores.items()}
    sweep.arms.sort(key=lambda arm: (arm.label != sweep.reference, -means[arm.label], arm.label))
    return sweep


def _drop_repeated(arm: Arm) -> list[Run]:
    best: dict[tuple[str, int], Run] = {}
    for run in sorted(arm.runs, key=lambda run: (run.finished, run.written or 0.0)):
        best[run.task, run.seed] = run
    dropped = [run for run in arm.runs if best[run.task, run.seed] is not run]
    arm.runs = [run for run in arm.runs if best[run.task, run.seed] is run]
    return dropped
