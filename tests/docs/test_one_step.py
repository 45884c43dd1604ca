"""docs/one_step.md tells the truth: its lines hold the code they quote, and its count is that of a profile."""

import re
import subprocess
import sys

import pytest

from benchmarks.one_step import COUNT, HOP, PAGE, ROOT, up_to_date

TEXT = PAGE.read_text(encoding="utf-8")
HINT = "python -m benchmarks.one_step --write brings it up to date"


def test_every_row_is_a_hop_and_every_line_holds_its_code():
    rows = [line for line in TEXT.splitlines() if re.match(r"\d+\. ", line)]
    assert [int(hop["number"]) for hop in HOP.finditer(TEXT)] == list(range(1, len(rows) + 1))
    assert up_to_date(TEXT) == TEXT, HINT


def test_code_that_moved_away_is_named():
    with pytest.raises(ValueError, match=r"gainrl/training/grpo\.py holds `no such code` in 0 lines"):
        up_to_date("1. a\n   `gainrl/training/grpo.py:1`\n   `no such code`")


def test_the_page_quotes_the_files_that_a_step_runs_through():
    # In a process of its own: what earlier tests have cached would not run again.
    code = "from benchmarks.one_step import files_of_a_step; print(*files_of_a_step(), sep='\\n')"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    files = [line for line in run.stdout.splitlines() if line.endswith(".py")]
    assert all((ROOT / "gainrl" / name).is_file() for name in files)
    assert {"training/grpo.py", "training/learner.py", "functional/policy_loss.py"} <= set(files)
    assert up_to_date(TEXT, files) == TEXT, f"{len(files)} files; {HINT}"
    assert COUNT.search(TEXT)
