import json

import numpy as np
import pytest

from gainrl.report.reader import read_columns, read_run, read_runs
from tests.report.synthetic import write_run


def test_a_finished_run_gives_arm_seed_status_and_curve(tmp_path):
    run = read_run(write_run(tmp_path, "gain_rl", 3, noise=0))
    assert (run.arm, run.seed, run.status, run.step) == ("baseline-gain_rl", 3, "finished", 40)
    budgets, scores = run.evaluations("prompts_seen", "eval/accuracy")
    np.testing.assert_array_equal(budgets, 32 * np.arange(0, 41, 5))
    assert scores[-1] > scores[0]


def test_evaluation_columns_are_empty_between_evaluations(tmp_path):
    run = read_run(write_run(tmp_path, "gain_rl", 0))
    assert np.isnan(run.columns["eval/accuracy"][1])
    assert len(run.columns["eval/accuracy"]) == 41


def test_runs_are_found_at_any_depth_and_once(tmp_path):
    write_run(tmp_path / "a" / "b", "x", 0)
    write_run(tmp_path / "c", "x", 1)
    runs = read_runs([tmp_path, tmp_path / "a"])
    assert [run.seed for run in runs] == [0, 1]


def test_the_command_line_is_read_from_the_configuration(tmp_path):
    assert read_run(write_run(tmp_path, "gain_rl", 3)).overrides == ("baseline=gain_rl", "seed=3")


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,eval/accuracy,loss\n0,0.5,1\n1,0.6,1\n2,0.")
    columns = read_columns(path)
    assert set(columns) == {"step", "eval/accuracy"}
    np.testing.assert_array_equal(columns["step"], [0, 1])


def test_a_half_written_record_counts_as_none(tmp_path):
    folder = write_run(tmp_path, "x", 0)
    (folder / "record.json").write_text('{"status": "fini')
    assert read_run(folder).status == "not begun"


def test_a_fault_is_kept(tmp_path):
    run = read_run(write_run(tmp_path, "x", 0, status="failed", fault="the disk is full", until=12))
    assert (run.status, run.fault, run.step) == ("failed", "the disk is full", 12)


def test_rollouts_that_only_screen_candidates_are_charged(tmp_path):
    run = read_run(write_run(tmp_path, "oracle", 0, screening=128))
    # 256 rollouts a step are trained on, and 128 candidates are measured by 4 each.
    np.testing.assert_array_equal(run.columns["rollouts"], (256 + 512) * np.arange(41))
    np.testing.assert_array_equal(run.columns["screening_rollouts"], 512 * np.arange(41))
    assert "screening_rollouts" not in read_run(write_run(tmp_path, "gain_rl", 0)).columns


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        read_runs([tmp_path / "nowhere"])


def test_a_run_without_rows_has_no_curve(tmp_path):
    (tmp_path / "s0").mkdir()
    (tmp_path / "s0" / "record.json").write_text(json.dumps({"status": "running"}))
    run = read_runs([tmp_path])[0]
    assert run.step == 0
    assert len(run.evaluations("prompts_seen", "eval/accuracy")[0]) == 0
