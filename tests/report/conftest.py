from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from gainrl.report.reader import read_runs
from gainrl.report.sweep import Settings, Sweep, make_sweep


@pytest.fixture
def sweep_of(tmp_path: Path) -> Callable[..., Sweep]:
    """The sweep of all runs that a test has written below its folder."""

    def make(**settings: object) -> Sweep:
        return make_sweep(read_runs([tmp_path]), Settings(**settings))  # type: ignore[arg-type]

    return make


@pytest.fixture
def quick_figures(monkeypatch):
    """Pages are read for their words here; drawing them takes far longer than everything else."""
    monkeypatch.setattr(Figure, "draw_without_rendering", lambda self: None)
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: Path(path).write_text("<svg/>"))
