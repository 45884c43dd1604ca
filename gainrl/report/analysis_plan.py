"""An analysis plan, written before the runs, and the deviations of the runs from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from gainrl.functional.contrasts import Over
from gainrl.report.blocks import Block, Bullets, Heading, Paragraph, Table, ranged
from gainrl.report.comparisons import FINAL, Comparison, difference, pairs_runs, primary_score, scores_of
from gainrl.report.conclusions import conclude, sentence
from gainrl.report.difference_tables import conclusion_badge, judged_table
from gainrl.report.duplicates import equal_arms
from gainrl.report.reader import Run
from gainrl.report.summaries import axes_of
from gainrl.report.sweep import NO_GATE, Pairing, Settings, Sweep

EXAMPLE = "families: {speed: [gain_rl > vanilla_grpo, gain_rl > length_order]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class AnalysisPlan:
    """The contents of an ``analysis_plan.yaml``, one per question. Raises ValueError where they decide too little.

    ``families``: comparisons by the name of a family, each ``ARM > REFERENCE``; a family is corrected as one.
    ``endpoint``: ``final`` or ``area``, of ``metric`` and over ``axis`` up to ``budget``. ``gate``: the positive
    control, an arm that must beat ``reference``, or two as ``ARM <> ARM`` that must differ in either direction; or
    ``null``. ``null_controls``: comparisons ``ARM = ARM`` that must show no difference. ``margin``: in units of the
    metric, or a share of the gate's gain such as ``50%``. ``stopping``: when the runs end, in words. ``exclusions``:
    runs that are left out, each a mapping with ``why`` and any of ``arm``, ``base`` and ``seed``. ``over``: ``bases``,
    or ``seeds`` for a question about these bases alone.
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
    null_controls: Sequence[str] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        found: dict[frozenset[str], str] = {}
        for family, lines in self.families.items():
            for line in lines:
                arms = _two(line, ">", f"the comparison {line!r} of family {family}", EXAMPLE)
                if frozenset(arms) in found:
                    raise ValueError(f"the plan compares {line} twice, the first time as {found[frozenset(arms)]}")
                found[frozenset(arms)] = line
        if not found:
            raise ValueError(f"the plan names no comparison; type {EXAMPLE}")
        for entry in self.exclusions:
            if not isinstance(entry, Mapping) or "why" not in entry or set(entry) <= {"why"}:
                raise ValueError(f"the exclusion {entry!r} needs `why` and one of arm, base, seed: which runs, and why")
        if self.gate is not None and not isinstance(self.gate, str):
            raise ValueError(f"gate: {self.gate} is no arm; type gate: oracle, gate: one <> other, or gate: null")
        if self.gate is not None and self.two_sided:
            _two(self.gate, "<>", f"gate: {self.gate}", "gate: one <> other")
        if isinstance(self.margin, str) and not self.margin.endswith("%"):
            raise ValueError(
                f"margin: {self.margin} is neither a number nor a share; type 0.01, or 50% of the gate's gain"
            )
        if isinstance(self.margin, str) and (self.gate is None or self.two_sided):
            raise ValueError(
                f"margin: {self.margin} is a share of the gate's gain, and gate is "
                f"{'null' if self.gate is None else 'two arms'}; type gate: oracle, or a margin such as 0.01"
            )
        if isinstance(self.null_controls, str):
            raise ValueError(f"null_controls: {self.null_controls} is no list; type null_controls: [one = other]")
        for line in self.null_controls:
            _two(line, " = ", f"the null control {line!r}", "null_controls: [one = other]")

    @property
    def two_sided(self) -> bool:
        """Whether the gate is two arms that must differ in either direction."""
        return self.gate is not None and "<>" in self.gate

    def opens(self, gate: Comparison | None) -> bool:
        """Whether a concluded comparison of the gate lets the others be concluded on; None if it cannot be made."""
        return gate is not None and gate.conclusion in (("better", "worse") if self.two_sided else ("better",))

    def comparisons(self) -> list[tuple[str, str, str]]:
        """(family, arm, reference) of every comparison."""
        return [(family, *_two(line, ">", line, EXAMPLE)) for family, lines in self.families.items() for line in lines]

    def gate_arms(self) -> tuple[str, str] | None:
        """The two arms of the gate, the second of which is the reference unless the plan says otherwise."""
        if self.gate is None:
            return None
        if not self.two_sided:
            return self.gate, self.reference
        return _two(self.gate, "<>", self.gate, "gate: one <> other")

    def controls(self) -> list[tuple[str, str]]:
        """The two arms of every null control."""
        return [_two(line, " = ", line, "null_controls: [one = other]") for line in self.null_controls]

    def named(self) -> set[str]:
        """All arms that the plan names."""
        pairs = [*((arm, other) for _, arm, other in self.comparisons()), *self.controls(), self.gate_arms() or ()]
        return {self.reference, *(label for pair in pairs for label in pair)}

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
            gate=NO_GATE if self.gate is None or self.two_sided else self.gate,
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


def _two(line: str, sign: str, what: str, example: str) -> tuple[str, str]:
    """The arms on both sides of ``sign``. Raises ValueError unless they are two."""
    parts = tuple(part.strip() for part in str(line).split(sign))
    if len(parts) != 2 or not all(parts) or parts[0] == parts[1]:
        raise ValueError(f"{what} has no ARM {sign.strip()} ARM of two arms; type {example}")
    return parts


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
    controls: list[Comparison]
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
    sweep.same = equal_arms(sweep.arms)  # of the runs that are left
    return [f"{len(names)} runs {reason}: {_some(names)}." for reason, names in lines.items()]


def follow(plan: AnalysisPlan, name: str, digest: str, sweep: Sweep, left_out: Sequence[str]) -> Planned:
    """Makes the planned comparisons and lists every deviation. Raises ValueError for an arm that no run has."""
    named = plan.named()
    if unknown := named - set(sweep.labels):
        raise ValueError(f"the plan names {', '.join(sorted(unknown))}, and the arms are {', '.join(sweep.labels)}")
    axes = axes_of(sweep)
    score_name = primary_score(sweep, axes) if axes else FINAL
    score = scores_of(sweep, axes)[score_name]
    paired = pairs_runs(sweep, score)

    def compared(arm: str, reference: str) -> Comparison | None:
        return difference(sweep, arm, reference, score_name, score, primary=True, paired=paired)

    rows: dict[str, list[Comparison]] = {family: [] for family in plan.families}
    deviations = [*left_out, *_missing(plan, sweep, named), *_unplanned(sweep, named)]
    made: dict[tuple[str, str], str] = {}
    for family, arm, reference in plan.comparisons():
        # Arms that are the same trajectories make one comparison, whatever they are called.
        pair = (sweep.same.get(arm, arm), sweep.same.get(reference, reference))
        if pair[0] == pair[1]:
            deviations.append(f"{arm} > {reference} is no comparison: the two are the same trajectories.")
        elif pair in made:
            deviations.append(f"{arm} > {reference} repeats {made[pair]} and is counted once.")
        elif (row := compared(arm, reference)) is None:
            deviations.append(f"{arm} > {reference} cannot be made: they share no base with a score.")
        else:
            rows[family].append(row)
            made[pair] = f"{arm} > {reference}"
    gate, arms = None, plan.gate_arms()
    if arms is not None:
        draft = compared(*arms)
        gate = None if draft is None else next(iter(conclude([draft], plan.alpha)))
    shut = arms is not None and not plan.opens(gate)
    if shut:
        assert arms is not None
        fails = "does not differ from" if plan.two_sided else "does not beat"
        deviations.append(f"The gate is shut: {arms[0]} {fails} {arms[1]}, so nothing is concluded.")
    controls = []
    for one, other in plan.controls():
        row = None if sweep.same.get(one, one) == sweep.same.get(other, other) else compared(one, other)
        if row is None:
            deviations.append(
                f"The null control {one} = {other} cannot be made: the same trajectories, or no common base."
            )
        else:
            controls.append(row)
            if row.interval.excludes_zero():
                differ = f"{one} and {other} differ by {ranged(row.interval, sign=True)}"
                deviations.append(f"A null control fails: {differ}.")
    concluded = {family: found if shut else conclude(found, plan.alpha) for family, found in rows.items()}
    return Planned(plan, name, digest, sweep, concluded, gate, controls, deviations)


def _missing(plan: AnalysisPlan, sweep: Sweep, named: set[str]) -> Iterator[str]:
    wanted = {(str(base), seed) for base in plan.bases for seed in plan.seeds}
    for label in sorted(named):
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


def _unplanned(sweep: Sweep, named: set[str]) -> Iterator[str]:
    others = [label for label in sweep.labels if label not in named]
    if others:
        yield f"The plan does not name {_some(others)}: nothing is concluded on these arms."


def plan_blocks(planned: Planned) -> Iterator[Block]:
    """The plan, its deviations, and a table of conclusions per family."""
    plan = planned.plan
    yield Heading("Planned analysis")
    yield Paragraph(f"{plan.question} Plan {planned.name}, SHA-256 {planned.digest}.")
    margin = f"{plan.margin} of the gain of {plan.gate}" if isinstance(plan.margin, str) else f"{plan.margin:g}"
    nulls = "; ".join(plan.null_controls) or "none"
    end = "" if plan.endpoint == "final" else f" over {plan.axis}" + (f" up to {plan.budget:g}" if plan.budget else "")
    yield Paragraph(
        f"Endpoint: {plan.endpoint}{end} of {plan.metric}. Margin: {margin}. Gate: {plan.gate or 'none'}. "
        f"Null controls: {nulls}. Bases: "
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
        [
            _two_sided_gate(row, plan)
            if plan.two_sided and row is planned.gate
            else sentence(row, planned.sweep, gate=plan.gate)
            for row in rows
        ],
        "finding",
        [conclusion_badge(row) for row in rows],
    )
    if planned.controls:
        yield Bullets("Null controls", [_control(row) for row in planned.controls], "finding")
    yield from _family_tables(planned)


def _two_sided_gate(row: Comparison, plan: AnalysisPlan) -> str:
    found = "they differ, and the gate is open" if plan.opens(row) else "no difference shown, and the gate is shut"
    return f"{row.label} and {row.reference}: {ranged(row.interval, sign=True)}, {found}"


def _control(row: Comparison) -> str:
    """Whether two arms that must not differ do: their interval against zero, and against the margin either way."""
    found = f"{row.label} and {row.reference}: {ranged(row.interval, sign=True)}, "
    if row.interval.excludes_zero():
        return found + "they differ"
    if row.margin is not None and max(-row.interval.low, row.interval.high) < row.margin:
        return found + f"equal within {row.margin:g}"
    return found + "no difference shown, but one of the margin is not ruled out"


def _family_tables(planned: Planned) -> Iterator[Table]:
    for family, rows in planned.families.items():
        if rows:
            yield judged_table(planned.sweep, rows, len(rows), name=family)


def _some(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
