"""The directory of a small run that has ended, made in this process."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from gainrl.app.train import run_job
from tests.composition import SMALL, composed


def finished_run(folder: Path, *overrides: str) -> Path:
    """``folder``, once a run of `SMALL` with ``overrides`` has left there what runs leave, but for the picture."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAINRL_CACHE", str(folder.parent / "cache"))
        patch.setattr("gainrl.app.run.draw_curves", lambda *given, **options: None)
        run_job(composed(*SMALL, "logger=none", *overrides, folder=folder), Console(file=io.StringIO()))
    return folder
