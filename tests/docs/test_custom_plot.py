"""The ten lines of docs/custom_plot.py draw a sweep."""

import runpy
import sys
from pathlib import Path

from tests.report.synthetic import write_run

SCRIPT = Path(__file__).parents[2] / "docs" / "custom_plot.py"


def test_the_script_draws_a_sweep(tmp_path, monkeypatch):
    for arm in ("vanilla_grpo", "gain_rl"):
        for seed in range(2):
            write_run(tmp_path / "sweep", arm, seed)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(tmp_path / "sweep"), str(tmp_path / "arms.png")])
    runpy.run_path(str(SCRIPT))
    assert (tmp_path / "arms.png").read_bytes().startswith(b"\x89PNG")


def test_it_is_ten_lines_after_the_imports():
    _, code = SCRIPT.read_text().split("make_sweep\n\n")
    assert len(code.splitlines()) <= 10
