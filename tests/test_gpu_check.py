"""The command behind ``make gpu-check``. The checks themselves run in ``make gpu-smoke``."""

from __future__ import annotations

import sys

import pytest
import torch

import benchmarks.gpu.__main__ as command
from benchmarks.gpu.checks import CHECKS
from benchmarks.gpu.commands import largest_difference

BY_NUMBER = {check.number: check for check in CHECKS}


def test_the_checks_are_numbered_and_fit_into_eight_minutes():
    assert sorted(BY_NUMBER) == list(range(1, 15))
    assert sum(check.seconds for check in CHECKS) <= 60 * command.MINUTES


CHILD = """
import json, os, sys, time
file = open(sys.argv[1], "a")
for number in map(int, sys.argv[2:]):
    print(json.dumps({"begins": number}), file=file, flush=True)
    if number == 2:
        os._exit(3)
    if number == 3:
        time.sleep(60)
    found = {"number": number, "figures": {"a": "1"}, "passed": True, "table": [], "seconds": 1}
    print(json.dumps(found), file=file, flush=True)
"""


def test_a_check_that_crashes_or_hangs_fails_alone_and_the_others_go_on(tmp_path, capsys):
    results = tmp_path / "results"
    found = command.supervise(
        [sys.executable, "-c", CHILD, str(results)], [1, 2, 3, 4], results, seconds=30, longest=1.0
    )
    assert [found[number]["passed"] for number in (1, 2, 3, 4)] == [True, False, False, True]
    assert found[2]["figures"] == {"failed": "the process ended with 3"}
    assert found[3]["figures"]["failed"].startswith("ended after 1")


def test_what_has_not_begun_when_the_time_is_over_is_listed(tmp_path):
    found = command.supervise([sys.executable, "-c", "", "x"], [1, 2], tmp_path / "results", seconds=0)
    assert {record["figures"]["failed"] for record in found.values()} == {"not run: the time was over"}


def outcome(**more):
    return {"figures": {"speed": "2 s"}, "passed": None, "table": [], "seconds": 3.0} | more


def test_checks_that_run_again_replace_their_rows_and_leave_the_others():
    first = command.page({2: outcome(), 5: outcome(table=["| a |", "|---|", "| 1 |"])}, "", smoke=False)
    assert first.index("| 2 |") < first.index("| 5 |") < first.index("## 5. ")
    again = command.page({2: outcome(figures={"speed": "1 s"}, passed=True)}, first, smoke=False)
    assert "| speed 1 s | peak within 25% | passed | 3 |" in again
    assert "speed 2 s" in again.splitlines()[-7]
    assert "| 1 |" in again.splitlines()[-1]
    assert again.count("## 5. ") == 1


def test_without_a_gpu_the_full_form_is_refused_with_the_smoke_form(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="no GPU here; type --smoke"):
        command.main(["--output", str(tmp_path / "GPU.md")])
    with pytest.raises(SystemExit, match="--only 99: there is no such check"):
        command.main(["--only", "99"])


def test_wheels_are_installed_for_what_is_missing_only(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "missing", list)
    command.install(tmp_path)  # which would ask pip for nothing
    ran = []
    monkeypatch.setattr(command, "missing", lambda: ["hydra-core>=1.3.2,<1.4", "trl"])
    monkeypatch.setattr(command.subprocess, "run", lambda words, **given: ran.append(words) or Failed())
    with pytest.raises(SystemExit, match="has no wheels for hydra-core"):
        command.install(tmp_path)
    assert [words[-1] for words in ran] == ["hydra-core>=1.3.2,<1.4", "trl"]
    assert all("--no-index" in words for words in ran)


class Failed:
    returncode = 1


def test_the_requirements_that_are_missing_are_those_of_the_package(monkeypatch):
    known = {"hydra-core", "rich"}

    def version(name):
        if name in known:
            raise command.importlib.metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(command.importlib.metadata, "version", version)
    assert [text.split(">")[0] for text in command.missing()] == ["hydra-core", "rich"]


def test_two_runs_are_compared_metric_by_metric_without_their_clocks(tmp_path):
    for name, loss in (("a", 1.0), ("b", 1.5)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.csv").write_text(f"step,loss,seconds/update\n1,{loss},{loss * 9}\n2,,3\n")
    assert largest_difference(tmp_path / "a", tmp_path / "b") == 0.5
    assert largest_difference(tmp_path / "a", tmp_path / "none") == float("inf")
