"""Runs as rows: what is written is what is read, and a report of rows says what a report of the runs says."""

import csv

import numpy as np
import pytest

from gainrl.report.cli import cli
from gainrl.report.conclusions import compare
from gainrl.report.reader import read_runs
from gainrl.report.rows import read_rows, write_rows
from gainrl.report.summaries import axes_of
from gainrl.report.sweep import Settings, make_sweep
from tests.report.synthetic import write_run


@pytest.fixture
def runs(tmp_path):
    for arm, gain in {"vanilla_grpo": 0.3, "gain_rl": 0.4, "oracle": 0.45}.items():
        for base in (0, 1, 2):
            for seed in (0, 1):
                extra = {"screening": 16} if arm == "oracle" else {}
                write_run(tmp_path / "runs", arm, seed, base=base, gain=gain, problems=37, families=True, **extra)
    return read_runs([tmp_path / "runs"])


def test_rows_give_back_scores_budgets_bases_and_verdicts(runs, tmp_path):
    assert write_rows(runs, tmp_path / "rows.csv") == 18 * 9
    back = {(run.arm, run.base, run.seed): run for run in read_rows(tmp_path / "rows.csv")}
    for run in runs:
        again = back[run.overrides[0], run.base, run.seed]
        for axis in ("step", "generated_tokens", "rollouts", "wall_seconds"):
            for ours, theirs in zip(
                run.evaluations(axis, "eval/accuracy"), again.evaluations(axis, "eval/accuracy"), strict=True
            ):
                np.testing.assert_allclose(ours, theirs)
        assert set(run.verdicts) == set(again.verdicts)
        assert all((run.verdicts[step] == again.verdicts[step]).all() for step in run.verdicts)
        assert again.record["git_commit"] == run.record["git_commit"][:12]


def test_a_report_of_rows_concludes_the_same_as_the_report_of_the_runs(runs, tmp_path):
    write_rows(runs, tmp_path / "rows.csv")
    found = []
    for given in (runs, read_rows(tmp_path / "rows.csv")):
        sweep = make_sweep(given, Settings())
        found.append([(r.label, r.score, r.conclusion, r.estimate.value, r.p) for r in compare(sweep, axes_of(sweep))])
    assert [row[:3] for row in found[0]] == [row[:3] for row in found[1]]
    np.testing.assert_allclose([row[3:] for row in found[0]], [row[3:] for row in found[1]], rtol=1e-6)


def test_the_command_writes_rows_and_reports_them(runs, tmp_path, capsys, monkeypatch):
    cli([str(tmp_path / "runs"), "--rows", str(tmp_path / "rows.csv")])
    assert "162 evaluations" in capsys.readouterr().out
    monkeypatch.setattr("gainrl.report.cli.write_report", lambda *_, **__: "page")
    cli([str(tmp_path / "rows.csv")])
    assert capsys.readouterr().err.startswith("18 runs of 3 arms, 18 finished")


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="lacks the columns arm, seed, step"):
        read_rows(tmp_path / "other.csv")


def test_settings_that_hold_commas_stay_whole(runs, tmp_path):
    runs[0].overrides = ("baseline=gain_rl", "dataset.families=[a,b]", "seed=0")
    write_rows(runs[:1], tmp_path / "rows.csv")
    assert read_rows(tmp_path / "rows.csv")[0].overrides == ("baseline=gain_rl", "dataset.families=[a,b]")


def test_a_line_is_an_evaluation(runs, tmp_path):
    write_rows(runs, tmp_path / "rows.csv")
    with open(tmp_path / "rows.csv", newline="") as file:
        lines = [row for row in csv.DictReader(file) if row["seed"] == "0" and row["base"] == "0"]
    assert {row["step"] for row in lines} == {str(step) for step in range(0, 41, 5)}
    assert all(row["generated_tokens"] and row["verdicts"].startswith("37:") for row in lines)
