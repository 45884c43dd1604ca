"""What the report says about how its numbers are made."""

from __future__ import annotations

from collections.abc import Sequence

from gainrl.functional.paired import BOOTSTRAP_PAIRS, RULING_OUT_PAIRS
from gainrl.report.sweep import Sweep


def methods(sweeps: Sequence[Sweep]) -> list[str]:
    settings = sweeps[0].settings
    score = "the final score" if settings.primary == "final" else "the area under the curve"
    blocks = (
        "; blocks (--within) are compared each by itself, never pooled, and corrected together"
        if len(sweeps) > 1
        else ""
    )
    return [
        "Interquartile mean, stratified bootstrap, probability of improvement and performance profile follow "
        "Agarwal et al. 2021 (arXiv 2108.13264); runs are resampled within their task. The final score of a run is "
        f"the mean of its last evaluations: up to {settings.last}, at most a quarter of those after the first; no "
        "best checkpoint is picked. The area is the mean score between zero and the budget that all compared runs "
        "have. A target is a share of the interquartile mean of the reference's final scores; it is taken as known, so "
        "intervals of ratios leave out what it would vary by over other seeds. Their pairs are resampled within tasks.",
        "Pairs share a seed and a task. Intervals of paired differences are bootstrap-t where every task has "
        f"{BOOTSTRAP_PAIRS} pairs or more (Efron and Tibshirani 1993), and Student's t with the degrees of freedom "
        "within tasks where one has fewer or most differences are ties: percentile intervals of so few pairs are far "
        "too narrow. p-values come from the sign patterns of the differences.",
        f"One score is primary, {score} (--primary, chosen before looking); only it is judged, with Holm's correction "
        f"over all its comparisons on this page{blocks}. An improvement is supported if its interval lies above zero "
        f"and its corrected p is at most {settings.alpha:g}; ruled out if the interval ends below the smallest effect "
        f"({settings.smallest_effect:g}), which takes {RULING_OUT_PAIRS} pairs that are not all equal; inconclusive "
        "otherwise. Other scores and single tasks are secondary: their p-values are corrected for nothing. Pairs "
        f"needed are by the normal approximation. {settings.draws:,} resamples, seed {settings.seed}.",
    ]


def made_with(sweeps: Sequence[Sweep]) -> str:
    """The commits of the runs, as a sentence; empty where none is recorded."""
    commits = {str(run.record.get("git_commit") or "") for sweep in sweeps for run in sweep.all_runs()} - {""}
    versions = sorted({f"commit {text[:12]}" + ("+changes" if "+" in text else "") for text in commits})
    return "Runs made with " + ", ".join(versions) + "." if versions else ""
