"""Every promise of docs/reliability.md names tests, and they exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("|")]
PROMISES = [row for row in ROWS if row[0] != "promise" and not row[0].startswith("---")]


@pytest.fixture(scope="module")
def functions() -> set[str]:
    """The names of all tests."""
    files = (ROOT / "tests").rglob("test_*.py")
    return {name for file in files for name in re.findall(r"^def (test_\w+)\(", file.read_text(), re.MULTILINE)}


@pytest.mark.parametrize("row", PROMISES, ids=lambda row: row[0][:60])
def test_the_tests_of_a_promise_exist(row, functions):
    assert len(row) == 2
    named = re.findall(r"`([^`]+)`", row[1])
    assert named
    for name in named:
        if name.startswith("tests/"):
            assert re.search(r"^def test_|^ARMS", (ROOT / name).read_text(), re.MULTILINE), f"{name} tests nothing"
        else:
            assert name in functions, f"no test is called {name}"


def test_the_page_has_promises():
    assert len(PROMISES) > 30
