"""Every promise of docs/reliability.md names tests, and they exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
PROMISES = re.findall(r"^- (.+?)\n  Tests: (.+?)$(?!\n  )", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def functions() -> set[str]:
    """The names of all tests."""
    files = (ROOT / "tests").rglob("test_*.py")
    return {name for file in files for name in re.findall(r"^def (test_\w+)\(", file.read_text(), re.MULTILINE)}


@pytest.mark.parametrize(("promise", "tests"), PROMISES, ids=[promise[:60] for promise, _ in PROMISES])
def test_the_tests_of_a_promise_exist(promise, tests, functions):
    assert "Tests:" not in promise
    named = re.findall(r"`([^`]+)`", tests)
    assert named
    for name in named:
        if name.startswith("tests/"):
            assert re.search(r"^def test_|^ARMS", (ROOT / name).read_text(), re.MULTILINE), f"{name} tests nothing"
        else:
            assert name in functions, f"no test is called {name}"


def test_every_list_of_tests_belongs_to_a_promise():
    assert len(PROMISES) == PAGE.count("\n  Tests: ") > 30
