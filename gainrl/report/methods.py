"""The report's section on how its numbers are computed."""

from __future__ import annotations

from collections.abc import Sequence

from gainrl.report.comparisons import (
    CORRELATED,
    FINAL,
    PAIRS_TO_TELL,
    pairs_runs,
    primary_score,
    scores_of,
    seed_correlation,
)
from gainrl.report.sweep import Sweep


def methods(sweeps: Sequence[Sweep], axes: Sequence[tuple[str, ...]]) -> list[str]:
    settings = sweeps[0].settings
    score = "the final score" if settings.primary == "final" else "the area under the curve"
    blocks = "; blocks (--within) are compared each by itself and corrected together" if len(sweeps) > 1 else ""
    return [
        "The final score of a run is the mean of its last evaluations: up to "
        f"{settings.last}, at most a quarter of those after the first; no best checkpoint is picked. The area is "
        "the mean score between zero and what a run of the reference spends (median), or the budget that was chosen, "
        "so it does not depend on the other arms; a run that spends less keeps its last score. A target is a share of "
        "the mean of the reference's final scores and is taken as known.",
        _spread(sweeps[0], axes[0]),
        f"One score is primary, {score} (--primary); only it leads to conclusions{blocks}. Two tests are made of "
        "each comparison, of no difference and of an improvement of the margin or more, and both are corrected over "
        f"the family (Holm 1979). Better or worse: the first is rejected at {settings.alpha:g}. Not better: only the "
        "second is. Inconclusive: neither. Nothing is concluded where a gate, the positive control, does not itself "
        "beat the reference. Other scores and single tasks are secondary: their p-values are corrected for nothing. "
        "docs/analysis.md says how often the intervals cover and the tests err.",
    ]


def _spread(sweep: Sweep, axes: tuple[str, ...]) -> str:
    bases = len(sweep.bases())
    if bases > 1 and sweep.settings.over == "bases":
        text = (
            f"The base is the unit: a difference is the mean over {bases} bases of the difference on each, and "
            f"its interval and p-values are Student's t over bases ({bases - 1} degrees of freedom), so they include "
            "what bases differ by. "
        )
    else:
        only = "There is one base" if bases == 1 else f"The {bases} bases are taken as they are (--over seeds)"
        text = f"{only}: intervals and p-values are Welch's t over seeds, and say nothing of other bases. "
    name = primary_score(sweep, axes) if axes else FINAL
    score = scores_of(sweep, axes)[name]
    value, freedom = seed_correlation(sweep, score)
    paired = pairs_runs(sweep, score)
    known = f"correlate by {value:.2f} over seeds ({freedom} degrees of freedom)" if freedom else "share no seeds"
    rule = f"; from {CORRELATED} on, with {PAIRS_TO_TELL} degrees or more, they would be" if not paired else ""
    chosen = "" if sweep.settings.pairing == "auto" else " as was chosen"
    held_out = " Where runs recorded their verdicts, the choice of the held-out problems is part of the interval."
    return f"{text}Arms {known}, so runs of one seed are {'' if paired else 'not '}paired{chosen}{rule}.{held_out}"


def made_with(sweeps: Sequence[Sweep]) -> str:
    """The commits of the runs, as a sentence; empty where none is recorded."""
    commits = {str(run.record.get("git_commit") or "") for sweep in sweeps for run in sweep.all_runs()} - {""}
    versions = sorted({f"commit {text[:12]}" + ("+changes" if "+" in text else "") for text in commits})
    return "Runs made with " + ", ".join(versions) + "." if versions else ""
