"""The lines on the terminal before and after a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from gainrl.app.identity import RunRecord
from gainrl.app.learning import learning_line
from gainrl.training.grpo import GRPOModule
from gainrl.training.runtime import PhaseClock

if TYPE_CHECKING:
    from gainrl.app.components import Components


def print_opening(
    console: Console, config: DictConfig, components: Components, formula: str, remarks: list[str]
) -> None:
    """Sizes, the numbers that follow from them, and the effective objective."""
    schedule, group_size = config.schedule, config.algorithm.group_size
    assert components.splits.train is not None
    held_out = len(components.splits.held_out) if components.splits.held_out is not None else 0
    console.print(
        f"[bold]gainrl[/bold] {config.run.arm}, seed {config.seed}: {type(components.curriculum).__name__} over "
        f"{len(components.splits.train):,} problems ({held_out:,} held out)",
        highlight=False,
    )
    console.print(
        f"{schedule.steps} steps x {schedule.prompts_per_step} prompts x {group_size} completions = "
        f"{schedule.steps * schedule.prompts_per_step * group_size:,} rollouts; an epoch is "
        f"{schedule.steps_per_epoch} steps",
        highlight=False,
    )
    console.print(formula, style="dim", highlight=False, markup=False)
    if not held_out and not components.evaluation_sets:
        console.print(
            "note: no held-out problems, so no accuracy will be measured; type dataset.held_out_size=100 or "
            "dataset.held_out=FILE for your own data, or eval=math_suite",
            style="yellow",
            highlight=False,
        )
    for finding in components.findings:
        console.print(f"data: {finding}", style="yellow", highlight=False, markup=False)
    for remark in remarks:
        console.print(f"note: {remark}", style="dim yellow", highlight=False, markup=False)


def print_summary(
    console: Console, record: RunRecord, first: dict[str, float], last: dict[str, float], module: GRPOModule
) -> None:
    """Accuracy by level or source before and after, time by phase, tokens, and where everything is."""
    table = Table(title="Held-out accuracy (greedy)", title_justify="left")
    kind, groups = accuracy_groups(last)
    for name in (kind, "before", "after", "change"):
        table.add_column(name, justify="left" if name == "source" else "right")
    for label, name in groups.items():
        _accuracy_row(table, label, first.get(name), last[name])
    if "eval/accuracy" in last:
        table.add_section()
        _accuracy_row(table, "mean", first.get("eval/accuracy"), last["eval/accuracy"])
    if groups or "eval/accuracy" in last:
        console.print(table)
    else:
        console.print("no held-out problems: nothing was evaluated", style="yellow", highlight=False)
    counters = module.counters
    wall = record.content["wall_seconds"]
    console.print(phase_table(module.clock))
    console.print(
        f"{counters.prompts:,} prompts, {counters.rollouts:,} rollouts, {counters.generated_tokens:,} generated "
        f"tokens, {wall:.0f} s in all",
        highlight=False,
    )
    line, learned = learning_line(record.folder / "metrics.csv")
    console.print(line, style="green" if learned else "yellow", highlight=False, markup=False)
    console.print(
        f"[bold]{record.folder}[/bold]: curves.png metrics.csv rollouts.jsonl record.json policy/", highlight=False
    )


def accuracy_groups(metrics: Mapping[str, float]) -> tuple[str, dict[str, str]]:
    """Whether accuracies are given by ``level`` or by ``source``, and the metric's name for each of them, in order."""
    for kind in ("source", "level"):
        prefix = f"eval/accuracy/{kind}_"
        groups = {name.removeprefix(prefix): name for name in metrics if name.startswith(prefix)}
        if groups:
            order = sorted(groups, key=lambda label: (int(label) if kind == "level" else 0, label))
            return kind, {label: groups[label] for label in order}
    return "level", {}


def phase_table(clock: PhaseClock) -> Table:
    """Seconds and tokens of every phase, the longest first."""
    table = Table(title="Where the time went", title_justify="left")
    table.add_column("phase")
    for name in ("seconds", "share", "tokens", "tokens/s"):
        table.add_column(name, justify="right")
    total = sum(clock.seconds.values()) or 1.0
    for phase, seconds in sorted(clock.seconds.items(), key=lambda item: -item[1]):
        tokens = clock.tokens.get(phase, 0)
        speed = f"{tokens / seconds:,.0f}" if tokens and seconds else ""
        table.add_row(phase, f"{seconds:.1f}", f"{seconds / total:.1%}", f"{tokens:,}" if tokens else "", speed)
    return table


def _accuracy_row(table: Table, name: str, before: float | None, after: float) -> None:
    if before is None:
        table.add_row(name, "", f"{after:.3f}", "")
        return
    change = after - before
    color = "green" if change > 0 else "red" if change < 0 else "dim"
    table.add_row(name, f"{before:.3f}", f"{after:.3f}", f"[{color}]{change:+.3f}[/{color}]")
