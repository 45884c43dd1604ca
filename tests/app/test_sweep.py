import os

import pytest
from omegaconf import OmegaConf

from gainrl.app import sweep
from gainrl.app.identity import RunRecord


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A sweep under way, and what closing it prints."""
    monkeypatch.setattr(sweep, "_failed", [])
    monkeypatch.setattr(sweep, "_open", [])
    monkeypatch.setenv("COLUMNS", "200")
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    callback = sweep.SweepTable()
    callback.on_multirun_start(config)
    return lambda: callback.on_multirun_end(config)


def job(folder, **record):
    sweep.announce_job(folder)
    if record:
        RunRecord(folder).update(**record)


def test_the_table_names_status_objective_seconds_and_the_reason_of_a_failure(tmp_path, table, capsys):
    job(tmp_path / "good", status="finished", objective=0.25, wall_seconds=12.3)
    job(tmp_path / "bad", status="failed")
    sweep.announce_job(tmp_path / "bad", fault="curriculum.width=-1 lies outside [0, 1]")
    table()
    title, *lines = capsys.readouterr().out.splitlines()
    assert title.strip() == f"2 jobs in {tmp_path}"
    good, bad = (next(line for line in lines if name in line) for name in ("good", "bad"))
    assert all(text in good for text in ("finished", "0.2500", "12"))
    assert all(text in bad for text in ("failed", "curriculum.width=-1 lies outside [0, 1]"))
    assert sweep.failed_jobs() == [tmp_path / "bad"]


def test_a_refused_job_is_not_taken_for_the_finished_run_in_its_directory(tmp_path, table, capsys):
    job(tmp_path / "taken", status="finished", objective=0.5, wall_seconds=1.0)
    sweep.announce_job(tmp_path / "taken", fault="holds another run")
    table()
    assert "holds another run" in capsys.readouterr().out
    assert sweep.failed_jobs() == [tmp_path / "taken"]


def test_a_job_that_died_without_a_word_counts_as_failed(tmp_path, table, capsys):
    job(tmp_path / "killed", status="running")
    job(tmp_path / "gone")
    table()
    text = capsys.readouterr().out
    assert "running" in text
    assert "no record" in text
    assert len(sweep.failed_jobs()) == 2


def test_the_list_of_jobs_is_gone_afterwards(tmp_path, table):
    table()
    assert list(tmp_path.iterdir()) == []
    sweep.announce_job(tmp_path / "single")  # a job outside of any sweep
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_that_ended_early_gets_its_table_once(tmp_path, table, capsys):
    job(tmp_path / "stopped", status="interrupted", fault="SIGTERM after step 3")
    sweep.print_open_table()
    sweep.print_open_table()
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "stopped" in line]
    assert "interrupted" in line
    assert "SIGTERM after step 3" in line
    assert sweep.failed_jobs() == [tmp_path / "stopped"]


def test_the_closing_line_counts_every_way_a_job_can_end(tmp_path, table, capsys):
    plan = {"hydra": {"sweeper": {"params": None}, "overrides": {"task": ["seed=0,1,2,3,4,5,6"]}}}
    plan["hydra"]["job"] = {"config": {"override_dirname": {"kv_sep": "-", "item_sep": ",", "exclude_keys": ["seed"]}}}
    (tmp_path / "multirun.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(plan)))
    job(tmp_path / "now", status="finished", objective=0.5, wall_seconds=1.0)
    job(tmp_path / "then", status="finished", objective=0.5, wall_seconds=1.0)
    os.utime(tmp_path / "then" / "record.json", (1, 1))
    job(tmp_path / "stopped", status="interrupted", fault="SIGINT after step 2")
    job(tmp_path / "broken", status="failed", fault="no")
    table()
    assert capsys.readouterr().out.splitlines()[-2].strip() == (
        "1 finished, 1 skipped (finished before), 1 interrupted, 1 failed, 3 not started; the same command goes on "
        "from there; retry_failed=true runs failed jobs again"
    )


def test_a_job_that_did_not_inherit_the_environment_finds_the_table_of_its_sweep(tmp_path, table, monkeypatch, capsys):
    monkeypatch.delenv("GAINRL_SWEEP")
    job(tmp_path / "arm" / "s0", status="finished", objective=0.5, wall_seconds=1.0)
    table()
    assert "1 finished" in capsys.readouterr().out
