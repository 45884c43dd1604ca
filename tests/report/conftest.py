from collections.abc import Callable
from pathlib import Path

import pytest

from gainrl.report.reader import read_runs
from gainrl.report.sweep import Settings, Sweep, make_sweep


@pytest.fixture
def sweep_of(tmp_path: Path) -> Callable[..., Sweep]:
    """The sweep of all runs that a test has written below its folder."""

    def make(**settings: object) -> Sweep:
        return make_sweep(read_runs([tmp_path]), Settings(**settings))  # type: ignore[arg-type]

    return make
