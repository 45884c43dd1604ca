import io
import json

import pytest
from omegaconf import OmegaConf

from gainrl.app.sweep import SweepProgress
from gainrl.report.plan import read_plan
from gainrl.report.watch import progress_line, sweep_progress, watch
from tests.report.synthetic import write_plan, write_run


@pytest.fixture
def sweep(tmp_path):
    """Eight jobs: two finished in 25 s each, one half way, one failed, four to come."""
    write_plan(tmp_path, {"baseline": "vanilla_grpo,gain_rl"}, ["seed=0,1,2,3"])
    write_run(tmp_path, "vanilla_grpo", 0, noise=0, gain=0.2)
    write_run(tmp_path, "gain_rl", 0, noise=0, gain=0.5)
    write_run(tmp_path, "gain_rl", 1, status="running", until=20)
    write_run(tmp_path, "gain_rl", 2, status="failed", until=5)
    return tmp_path


def test_jobs_are_counted_and_the_rest_is_priced_by_the_finished_ones(sweep):
    progress = sweep_progress(sweep)
    assert (progress.total, progress.finished, progress.running, progress.failed) == (8, 2, 1, 1)
    assert progress.best is not None
    assert progress.best[1] == "baseline-gain_rl/s0"
    assert progress.seconds_left == pytest.approx(25 * 4.5)  # four to come, half of one; one at a time
    assert not progress.over


def test_jobs_that_run_side_by_side_share_the_rest(sweep):
    write_run(sweep, "vanilla_grpo", 1, status="running", until=20)
    assert sweep_progress(sweep).seconds_left == pytest.approx(25 * (3 + 0.5 + 0.5) / 2)


def test_before_anything_has_finished_the_running_jobs_tell_the_time(tmp_path):
    write_plan(tmp_path, {}, ["baseline=gain_rl", "seed=0,1"])
    write_run(tmp_path, "gain_rl", 0, status="running", until=20)
    # 13 s for half of the steps: 26 s each, half of one and a whole one to go.
    assert sweep_progress(tmp_path).seconds_left == pytest.approx(39)
    write_plan(tmp_path / "empty", {}, ["seed=0,1"])
    assert sweep_progress(tmp_path / "empty").seconds_left is None


def test_the_line_says_it_all(sweep):
    line = progress_line(sweep_progress(sweep))
    assert line.startswith("2/8 jobs done, 1 running, 1 failed; best 0.")
    assert line.endswith("(baseline-gain_rl/s0); about 112 s left")


def test_a_long_name_leaves_it_one_line(tmp_path):
    write_run(tmp_path, "x" * 60, 0)
    assert "baseline-" + "x" * 30 + "…/s0)" in progress_line(sweep_progress(tmp_path))


def test_a_refused_job_without_a_record_counts_as_failed(sweep):
    refused = sweep / "baseline-vanilla_grpo" / "s3"
    listing = sweep / ".jobs-1"
    listing.mkdir()
    (listing / "refused").write_text(json.dumps([str(refused), "curriculum.width=-1 lies outside [0, 1]"]))
    (listing / "running").write_text(json.dumps([str(sweep / "baseline-gain_rl" / "s3"), None]))
    (listing / ".being-written").write_text('["half')
    assert sweep_progress(sweep).failed == 2


def test_a_search_knows_the_number_of_its_trials(tmp_path):
    (tmp_path / "multirun.yaml").write_text("hydra: {sweeper: {n_trials: 60}}")
    write_run(tmp_path, "gain_rl", 0)
    assert sweep_progress(tmp_path).total == 60


def test_jobs_of_an_earlier_command_in_the_directory_are_left_out(sweep):
    write_plan(sweep, {}, ["baseline=gain_rl", "seed=0"])
    assert progress_line(sweep_progress(sweep)).startswith("1/1 jobs done; best")


def test_watching_keeps_one_line_and_ends_with_the_sweep(tmp_path):
    write_plan(tmp_path, {}, ["baseline=gain_rl", "seed=0,1"])
    write_run(tmp_path, "gain_rl", 0)
    waited = []

    def wait(seconds):
        waited.append(seconds)
        if len(waited) == 2:
            write_run(tmp_path, "gain_rl", 1)

    out = io.StringIO()
    assert watch(tmp_path, wait=wait, out=out).over
    first, last = out.getvalue().splitlines()  # what has not changed is not repeated
    assert first.startswith("1/2 jobs done")
    assert last.startswith("2/2 jobs done")


def test_on_a_terminal_the_line_is_written_over(sweep):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def wait(seconds):
        raise KeyboardInterrupt

    out = Terminal()
    with pytest.raises(KeyboardInterrupt):
        watch(sweep, wait=wait, out=out)
    assert out.getvalue().startswith("\r\x1b[2K2/8 jobs done")
    assert "\n" not in out.getvalue()


def test_a_directory_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no sweep: give the directory that holds multirun\.yaml"):
        sweep_progress(tmp_path)


def test_every_sweeper_leaves_its_plan_and_every_job_the_line(tmp_path, capsys):
    sweeper = {"sweeper": {"n_trials": 3}, "sweep": {"dir": str(tmp_path)}, "mode": None}
    SweepProgress().on_multirun_start(OmegaConf.create({"hydra": sweeper}))
    plan = read_plan(tmp_path / "multirun.yaml")
    assert plan is not None
    assert plan.number == 3
    write_run(tmp_path, "gain_rl", 0)
    from hydra.types import RunMode

    config = OmegaConf.create({"hydra": sweeper | {"mode": RunMode.MULTIRUN}})
    SweepProgress().on_job_end(config, None)
    assert capsys.readouterr().out.startswith("1/3 jobs done; best")
    SweepProgress().on_job_end(OmegaConf.create({"hydra": sweeper | {"mode": RunMode.RUN}}), None)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("text", ["", "hydra: {", "hydra: {sweeper: {}}"])
def test_a_plan_that_is_half_written_is_none(tmp_path, text):
    (tmp_path / "multirun.yaml").write_text(text)
    assert read_plan(tmp_path / "multirun.yaml") is None
