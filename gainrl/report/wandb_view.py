"""``gainrl-wandb-view``: a saved view of a W&B project that compares arms, with mean and band over seeds.

It needs a server, a key, and the extra ``wandb-view``. Offline runs get there with ``wandb sync``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from gainrl.report.reader import AXES

_DIAGNOSTICS = ("informative_groups", "selection/distinct_prompts", "curriculum/center_fraction", "concentration")


def comparison_view(entity: str, project: str, *, name: str, sweep: str | None = None) -> Any:
    """An unsaved ``Workspace``: runs grouped by ``group``, which is the arm, one panel per budget, then diagnostics.

    ``sweep``: only runs with this tag. Raises ValueError without the library that describes views.
    """
    try:
        import wandb_workspaces.reports.v2 as panels
        import wandb_workspaces.workspaces as workspaces
    except ImportError as absent:
        raise ValueError("it takes the extra wandb-view: pip install 'gainrl[wandb-view]'") from absent

    def plot(title: str, metric: str, axis: str) -> Any:
        return panels.LinePlot(
            title=title,
            x=axis,
            y=[metric],
            title_x=AXES[axis],
            title_y=metric,
            groupby_aggfunc="mean",
            groupby_rangefunc="stderr",
            max_runs_to_show=100,
        )

    curves = [plot(f"Held-out accuracy over {words}", "eval/accuracy", axis) for axis, words in AXES.items()]
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[
            workspaces.Section(name="Held-out accuracy, mean over seeds", panels=curves, is_open=True),
            workspaces.Section(
                name="Diagnostics",
                panels=[plot(metric, metric, "prompts_seen") for metric in _DIAGNOSTICS],
                is_open=True,
            ),
        ],
        runset_settings=workspaces.RunsetSettings(
            groupby=[workspaces.Metric("Group")], filters=[workspaces.Tags().isin([sweep])] if sweep else ""
        ),
    )


def save(view: Any) -> str:
    """Saves a view and returns its address. Raises ValueError, in words for people, where no server answers."""
    try:
        return str(view.save().url)
    except Exception as fault:
        reason = (str(fault).strip().splitlines() or [type(fault).__name__])[0]
        raise ValueError(
            f"no W&B server took the view ({reason}). It takes a server that can be reached (WANDB_BASE_URL, where it "
            "is not the public one) and a key (wandb login). Without one, gainrl-report DIR compares the same runs"
        ) from fault


def cli(arguments: Sequence[str] | None = None) -> None:
    """The console script; a fault that its user can mend is one line and exit code 1."""
    made = argparse.ArgumentParser(prog="gainrl-wandb-view", description=(__doc__ or "").partition(": ")[2])
    made.add_argument("project", metavar="ENTITY/PROJECT")
    made.add_argument("--sweep", help="only runs with this tag, as runs of a sweep have (default: all)")
    made.add_argument("--name", help="of the view (default: Arms, or the sweep's name)")
    given = made.parse_args(arguments)
    entity, _, project = given.project.partition("/")
    if not entity or not project:
        made.error(f"{given.project!r} names no project; type ENTITY/PROJECT, such as my-team/gainrl")
    name = given.name or (f"Arms of {given.sweep}" if given.sweep else "Arms")
    try:
        print(save(comparison_view(entity, project, name=name, sweep=given.sweep)))
    except ValueError as fault:
        sys.exit(f"No view: {fault}")


if __name__ == "__main__":
    cli()
