"""An analysis plan, written before the runs, and the deviations of the runs from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from gainrl.functional.contrasts import Over
from gainrl.report.blocks import Block, Bullets, Heading, Paragraph, Table
from gainrl.report.comparisons import FINAL, Comparison, difference, pairs_runs, primary_score, scores_of
from gainrl.report.conclusions import conclude, sentence
from gainrl.report.difference_tables import conclusion_badge, judged_table
from gainrl.report.reader import Run
from gainrl.report.summaries import axes_of
from gainrl.report.sweep import Pairing, Settings, Sweep

EXAMPLE = "families: {speed: [gain_rl > vanilla_grpo, gain_rl > length_order]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class AnalysisPlan:
    """The contents of an ``analysis_plan.yaml``, one per question. Raises ValueError where they decide too little.

    ``families``: comparisons by the name of a family, each ``ARM > REFERENCE``; a family is corrected as one.
    ``endpoint``: ``final`` or ``area``, of ``metric`` and over ``axis`` up to ``budget``. ``gate``: the positive
    control, or ``null``. ``margin``: in units of the metric, or a share of the gate's gain such as
    ``50%``. ``stopping``: when the runs end, in words. ``exclusions``: runs that are left out, each a mapping with
    ``why`` and any of ``arm``, ``base`` and ``seed``. ``over``: ``bases``, or ``seeds`` for a question about these
    bases alone.
    """

    question: str
    endpoint: str
    families: Mapping[str, Sequence[str]]
    reference: str
    gate: str | None
    margin: float | str
    bases: Sequence[int | str]
    seeds: Sequence[int]
    stopping: str
    metric: str = "eval/accuracy"
    axis: str = "generated_tokens"
    budget: float | None = None
    last: int = 3
    alpha: float = 0.05
    pairing: Pairing = "auto"
    over: Over = "bases"
    exclusions: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        for family, lines in self.families.items():
            for line in lines:
                if line.count(">") != 1 or not all(part.strip() for part in line.split(">")):
                    raise ValueError(
                        f"the comparison {line!r} of family {family} has no ARM > REFERENCE; type {EXAMPLE}"
                    )
        if not any(self.families.values()):
            raise ValueError(f"the plan names no comparison; type {EXAMPLE}")
        for entry in self.exclusions:
            if not isinstance(entry, Mapping) or "why" not in entry or set(entry) <= {"why"}:
                raise ValueError(f"the exclusion {entry!r} needs `why` and one of arm, base, seed: which runs, and why")
        if isinstance(self.margin, str) and not self.margin.endswith("%"):
            raise ValueError(
                f"margin: {self.margin} is neither a number nor a share; type 0.01, or 50% of the gate's gain"
            )
        if isinstance(self.margin, str) and self.gate is None:
            raise ValueError(
                f"margin: {self.margin} is a share of the gate's gain, and gate is null; type gate: oracle"
            )

    def comparisons(self) -> list[tuple[str, str, str]]:
        """(family, arm, reference) of every comparison."""
        return [
            (family, *(part.strip() for part in line.split(">")))  # type: ignore[misc]
            for family, lines in self.families.items()
            for line in lines
        ]

    def settings(self, given: Settings) -> Settings:
        """What the plan decides, over the choices that it leaves open (targets, a task)."""
        share = float(self.margin[:-1]) / 100 if isinstance(self.margin, str) else None
        return replace(
            given,
            reference=self.reference,
            metric=self.metric,
            axis=self.axis,
            margin=given.margin if isinstance(self.margin, str) else float(self.margin),
            margin_share=share,
            gate=self.gate,
            pairing=self.pairing,
            over=self.over,
            last=self.last,
            alpha=self.alpha,
            primary=self.endpoint,
            budget=self.budget,
        )

    def excludes(self, run: Run, label: str) -> Mapping[str, Any] | None:
        """The exclusion that a run falls under, if any."""
        for entry in self.exclusions:
            has = {"arm": label, "base": run.base, "seed": str(run.seed)}
            if all(str(entry[key]) == value for key, value in has.items() if key in entry):
                return entry
        return None


def read_plan_file(path: Path) -> tuple[AnalysisPlan, str]:
    """The plan in a file and the digest of its bytes. Raises ValueError, with what to type, where it is not one."""
    try:
        content = path.read_bytes()
        found = yaml.safe_load(content)
    except (OSError, yaml.YAMLError) as fault:
        raise ValueError(f"the plan {path} cannot be read ({fault})") from fault
    names = get_type_hints(AnalysisPlan)
    needed = {"question", "endpoint", "families", "reference", "gate", "margin", "bases", "seeds", "stopping"}
    if not isinstance(found, dict) or needed - set(found):
        lacks = ", ".join(sorted(needed - set(found or ()))) if isinstance(found, dict | None) else "a mapping"
        raise ValueError(
            f"the plan {path} lacks {lacks}: decide each before the runs (docs/analysis.md has an example)"
        )
    if unknown := set(found) - set(names):
        raise ValueError(f"the plan {path} has {', '.join(sorted(unknown))}; the keys are {', '.join(names)}")
    return AnalysisPlan(**found), hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan with its concluded comparisons by family, and the deviations from it."""

    plan: AnalysisPlan
    name: str
    digest: str
    sweep: Sweep
    families: Mapping[str, list[Comparison]]
    gate: Comparison | None
    deviations: list[str]


def keep_planned(plan: AnalysisPlan, sweep: Sweep) -> list[str]:
    """Removes runs that the plan excludes or does not name; returns one line for each reason."""
    lines: dict[str, list[str]] = {}
    bases, seeds = set(map(str, plan.bases)), set(plan.seeds)
    for arm in sweep.arms:
        for run in list(arm.runs):
            excluded = plan.excludes(run, arm.label)
            if excluded is not None:
                reason = f"left out as the plan has it ({excluded['why']})"
            elif run.base not in bases or run.seed not in seeds:
                reason = "left out: their base or seed is not in the plan"
            else:
                continue
            arm.runs.remove(run)
            lines.setdefault(reason, []).append(f"{arm.label} base {run.base} seed {run.seed}")
    return [f"{len(names)} runs {reason}: {_some(names)}." for reason, names in lines.items()]


def follow(plan: AnalysisPlan, name: str, digest: str, sweep: Sweep, left_out: Sequence[str]) -> Planned:
    """Makes the planned comparisons and lists every deviation. Raises ValueError for an arm that no run has."""
    named = {label for _, arm, reference in plan.comparisons() for label in (arm, reference)}
    if unknown := (named | {plan.reference, *([plan.gate] if plan.gate else [])}) - set(sweep.labels):
        raise ValueError(f"the plan names {', '.join(sorted(unknown))}, and the arms are {', '.join(sweep.labels)}")
    axes = axes_of(sweep)
    score_name = primary_score(sweep, axes) if axes else FINAL
    score = scores_of(sweep, axes)[score_name]
    paired = pairs_runs(sweep, score)
    rows: dict[str, list[Comparison]] = {family: [] for family in plan.families}
    deviations = [*left_out, *_missing(plan, sweep, named)]
    for family, arm, reference in plan.comparisons():
        row = difference(sweep, arm, reference, score_name, score, primary=True, paired=paired)
        if row is None:
            deviations.append(f"{arm} > {reference} cannot be made: they share no base with a score.")
        else:
            rows[family].append(row)
    gate = None
    if plan.gate is not None:
        drafts = [difference(sweep, plan.gate, plan.reference, score_name, score, primary=True, paired=paired)]
        gate = next(iter(conclude([row for row in drafts if row is not None], plan.alpha)), None)
    shut = plan.gate is not None and (gate is None or gate.conclusion != "better")
    if shut:
        deviations.append(f"The gate is shut: {plan.gate} does not beat {plan.reference}, so nothing is concluded.")
    concluded = {family: found if shut else conclude(found, plan.alpha) for family, found in rows.items()}
    return Planned(plan, name, digest, sweep, concluded, gate, deviations)


def _missing(plan: AnalysisPlan, sweep: Sweep, named: set[str]) -> Iterator[str]:
    wanted = {(str(base), seed) for base in plan.bases for seed in plan.seeds}
    for label in sorted(named | {plan.reference, *([plan.gate] if plan.gate else [])}):
        lacks = sorted(wanted - {(run.base, run.seed) for run in sweep.chosen(label)})
        if lacks:
            yield (
                f"{label} lacks {len(lacks)} of {len(wanted)} planned runs: "
                + _some([f"base {base} seed {seed}" for base, seed in lacks])
                + "."
            )
    if sweep.partial:
        yield "Runs that have not finished are compared."
    if sweep.repeated:
        yield f"{len(sweep.repeated)} runs repeat another and are counted once."


def plan_blocks(planned: Planned) -> Iterator[Block]:
    """The plan, its deviations, and a table of conclusions per family."""
    plan = planned.plan
    yield Heading("Planned analysis")
    yield Paragraph(f"{plan.question} Plan {planned.name}, SHA-256 {planned.digest}.")
    margin = f"{plan.margin} of the gain of {plan.gate}" if isinstance(plan.margin, str) else f"{plan.margin:g}"
    end = "" if plan.endpoint == "final" else f" over {plan.axis}" + (f" up to {plan.budget:g}" if plan.budget else "")
    yield Paragraph(
        f"Endpoint: {plan.endpoint}{end} of {plan.metric}. Margin: {margin}. Gate: {plan.gate or 'none'}. Bases: "
        f"{', '.join(map(str, plan.bases))}. Seeds: {', '.join(map(str, plan.seeds))}. Unit: {plan.over}. Stopping: "
        f"{plan.stopping}. Exclusions: {'; '.join(str(entry['why']) for entry in plan.exclusions) or 'none'}."
    )
    if planned.deviations:
        yield Bullets("Deviations from the plan", planned.deviations, "warning")
    else:
        yield Paragraph("Deviations from the plan: none.")
    rows = [*([planned.gate] if planned.gate else []), *(row for found in planned.families.values() for row in found)]
    yield Bullets(
        f"Planned comparisons in {rows[0].score}" if rows else "Planned comparisons",
        [sentence(row, planned.sweep) for row in rows],
        "finding",
        [conclusion_badge(row) for row in rows],
    )
    yield from _family_tables(planned)


def _family_tables(planned: Planned) -> Iterator[Table]:
    for family, rows in planned.families.items():
        if rows:
            yield judged_table(planned.sweep, rows, len(rows), name=family)


def _some(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
