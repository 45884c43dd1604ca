"""Runs that are the same trajectory under several names: settings that do not act, or one run copied."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from gainrl.report.arms import Arm
from gainrl.report.reader import Run

_COMPARED = ("step", "generated_tokens", "rollouts", "informative_groups")


def trajectory(run: Run) -> str:
    """A digest of a finished run's scores and budgets at its evaluations; empty where there are fewer than two."""
    names = sorted(name for name in run.columns if name.startswith("eval/") or name in _COMPARED)
    scored = [~np.isnan(run.columns[name]) for name in names if name.startswith("eval/")]
    rows = np.any(scored, axis=0) if scored else np.zeros(0, bool)
    if not run.finished or rows.sum() < 2:
        return ""
    digest = hashlib.blake2b(digest_size=12)
    for name in names:
        digest.update(name.encode() + np.round(run.columns[name][rows], 9).tobytes())
    return digest.hexdigest()


def drop_repeated(arm: Arm) -> list[Run]:
    """Leaves an arm one run per task, base and seed, and one per trajectory; returns the others."""
    best: dict[tuple[str, str, int], Run] = {}
    for run in sorted(arm.runs, key=lambda run: (run.finished, run.written or 0.0)):
        best[run.task, run.base, run.seed] = run
    kept: dict[str, Run] = {}
    for run in sorted(best.values(), key=lambda run: (run.task, run.base, run.seed)):
        kept.setdefault(trajectory(run) or run.source, run)
    chosen = {id(run) for run in kept.values()}
    dropped = [run for run in arm.runs if id(run) not in chosen]
    arm.runs = [run for run in arm.runs if id(run) in chosen]
    return dropped


def equal_arms(arms: Sequence[Arm]) -> dict[str, str]:
    """Arms whose runs all repeat an earlier arm, with that arm's label: they are one comparison, not two."""
    seen: dict[frozenset[str], str] = {}
    same = {}
    for arm in arms:
        digests = frozenset(map(trajectory, arm.runs)) - {""}
        if digests and digests in seen:
            same[arm.label] = seen[digests]
        elif digests:
            seen[digests] = arm.label
    return same


def shared_runs(arms: Sequence[Arm]) -> list[str]:
    """One line for each two arms that share some of their runs, but not all."""
    digests = {arm.label: frozenset(map(trajectory, arm.runs)) - {""} for arm in arms}
    lines = []
    for place, one in enumerate(arms):
        for other in arms[place + 1 :]:
            both = digests[one.label] & digests[other.label]
            if both and digests[one.label] != digests[other.label]:
                lines.append(
                    f"{len(both)} of the {len(digests[one.label])} runs of {one.label} and the "
                    f"{len(digests[other.label])} of {other.label} are the same trajectory"
                )
    return lines
