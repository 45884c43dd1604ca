import json
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from omegaconf import OmegaConf
from rich.console import Console

from gainrl.app.planned import Job, list_jobs
from gainrl.app.preview import preview, print_jobs
from gainrl.app.timing import NotTimed, estimate, run_shortly, scale
from gainrl.app.train import COMMAND
from gainrl.report.plan import expand_jobs, read_plan
from tests.composition import whole

HAS_OPTUNA = any(plugin.__name__ == "OptunaSweeper" for plugin in Plugins.instance().discover(Sweeper))


def job(arm: str, seed: int, root: Path, **values: object) -> Job:
    options: dict = {"status": "new", "seconds": None, "steps": 120, "evaluations": 6} | values
    return Job((f"baseline={arm}", f"seed={seed}"), root / arm / f"s{seed}", arm, **options)


def test_jobs_are_the_product_of_choices():
    jobs = expand_jobs({"baseline": "a,b"}, ["seed=range(0,3)", "schedule.steps=10"])
    assert len(jobs) == 6
    assert jobs[0] == ["baseline=a", "seed=0", "schedule.steps=10"]


def test_an_argument_replaces_the_sweeps_own_choice():
    assert expand_jobs({"seed": "0,1,2"}, ["seed=7"]) == [["seed=7"]]


def test_an_interval_is_no_list_of_jobs():
    with pytest.raises(ValueError, match="give values such as"):
        expand_jobs({}, ["curriculum.width=interval(0,1)"])


def test_a_timed_run_is_scaled_by_steps_and_evaluations(tmp_path):
    # 6 steps in 3 s, two evaluations in 4 s, 10 s to start, 1 s of signal:
    # 10 + 1 + 6 evaluations of 2 s + 120 steps of 0.5 s
    row = {
        "step": "6",
        "seconds/rollout": "2",
        "seconds/update": "1",
        "seconds/evaluation": "4",
        "seconds/refresh": "1",
        "startup": 10,
    }
    assert scale(row, job("a", 0, tmp_path)) == pytest.approx(10 + 1 + 12 + 60)


def test_finished_runs_are_believed_before_anything_is_timed(tmp_path):
    def never(job, folder):
        raise AssertionError("nothing needs to be timed")

    jobs = [job("a", 0, tmp_path, status="finished", seconds=90.0), job("a", 1, tmp_path)]
    assert estimate(jobs, Console(quiet=True), run=never) == {"a": (90.0, "1 finished run")}


def test_other_seeds_beside_the_jobs_count_as_finished_runs(tmp_path):
    folder = tmp_path / "a" / "s9"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps({"status": "finished", "wall_seconds": 70.0}))
    assert estimate([job("a", 0, tmp_path)], Console(quiet=True), run=lambda *_: {})["a"][0] == 70.0


def test_one_arm_is_timed_for_all_or_each_for_itself(tmp_path):
    timed = []

    def run(job, folder):
        timed.append(job.arm)
        return {"step": "6", "seconds/update": 6.0}

    jobs = [job("a", 0, tmp_path), job("b", 0, tmp_path)]
    assert estimate(jobs, Console(quiet=True), run=run)["b"] == (120.0, "the arm timed above")
    assert timed == ["a"]
    estimate(jobs, Console(quiet=True), run=run, every_arm=True)
    assert timed == ["a", "a", "b"]


def test_listed_jobs_have_the_directories_of_the_real_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    jobs = list_jobs(["baseline=vanilla_grpo,gain_rl", "seed=0,1", "logger=none"])
    assert [str(job.folder) for job in jobs] == [
        f"runs/sweeps/default/baseline-{arm}/s{seed}" for arm in ("vanilla_grpo", "gain_rl") for seed in (0, 1)
    ]
    assert {job.status for job in jobs} == {"new"}
    assert jobs[0].evaluations == 1 + jobs[0].steps // 25


def test_a_plan_names_the_directories_that_hydra_makes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["baseline=vanilla_grpo,gain_rl", "seed=0,1", "dataset.terms=[2,3]", "logger=none"]
    naming = OmegaConf.to_container(whole().hydra.job.config.override_dirname)
    hydra = {"sweeper": {"params": None}, "overrides": {"task": arguments}}
    hydra["job"] = {"config": {"override_dirname": naming}}
    root = Path("runs/sweeps/default")
    root.mkdir(parents=True)
    OmegaConf.save({"hydra": hydra, "seed": 0}, root / "multirun.yaml")
    plan = read_plan(root / "multirun.yaml")
    assert plan is not None
    assert [folder for _, folder in plan.jobs] == [job.folder for job in list_jobs(arguments)]


def test_directories_with_another_run_do_not_count_as_finished(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs/sweeps/default/baseline-gain_rl/s0"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps({"status": "finished", "fingerprint": "other", "wall_seconds": 5}))
    assert [job.status for job in list_jobs(["baseline=gain_rl", "seed=0,1"])] == ["another run", "new"]


@pytest.mark.skipif(not HAS_OPTUNA, reason="the extra `search` is not installed")
def test_a_search_is_priced_by_its_number_of_trials(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs/sweeps/search/curriculum.alpha-2.5/s0"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps({"status": "finished", "fingerprint": "x", "wall_seconds": 50.0}))
    jobs = list_jobs(["sweep=search", "hydra.sweeper.n_trials=4", "logger=none"])
    assert [job.status for job in jobs] == ["finished", "new", "new", "new"]
    assert estimate(jobs, Console(quiet=True), run=lambda *_: {}) == {"a trial": (50.0, "1 finished run")}


def test_a_wrong_option_is_answered_without_a_traceback(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert preview(COMMAND, ["-m", "baseline=no_such_arm,gain_rl", "--dry-run"]) == 1
    assert "no_such_arm" in capsys.readouterr().err


def test_a_text_with_a_comma_is_one_job(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gainrl.app.timing.run_shortly", lambda *_, **__: {"step": "6", "seconds/update": 6.0})
    assert preview(COMMAND, ['template.system="Read, then write."', "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "1 job" in out
    assert "memory of each device" in out
    assert preview(COMMAND, ["template.system=Read, then write.", "--dry-run"]) == 1
    assert "type 'template.system=\"Read, then write.\"'" in capsys.readouterr().err


def test_jobs_that_cannot_be_timed_are_listed_with_the_reason(tmp_path, monkeypatch, capsys):
    """The reason is known before anything is timed, for which there would be up to 40 s to wait."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr("gainrl.app.timing.run_shortly", lambda *_, **__: pytest.fail("timed"))
    assert preview(COMMAND, ["-m", "model=hub", "model.source=/nowhere", "seed=0,1", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "2 jobs" in out
    assert "not timed, because model.source=/nowhere is no folder" in out
    assert "2 of 2 jobs to run; there is no estimate for 2 of them" in out


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
def test_jobs_whose_engine_is_not_installed_are_listed_with_the_reason(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    assert preview(COMMAND, ["rollout=vllm", "debug=fast", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "1 of 1 jobs to run; there is no estimate for 1 of them" in out
    assert "not timed, because rollout=vllm needs vLLM, which is not installed: type pip install" in out


def test_the_reason_of_a_timed_run_that_was_refused_is_its_own_message(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = Job(("curriculum.width=-1",), tmp_path, "arm", "new", None, 10, 2)
    with pytest.raises(NotTimed, match="width=-1 lies outside"):
        run_shortly(one, tmp_path / "run")


def test_files_of_ones_own_are_known_to_the_timed_run(tmp_path, monkeypatch):
    (tmp_path / "mine" / "curriculum").mkdir(parents=True)
    (tmp_path / "mine" / "curriculum" / "own.yaml").write_text("defaults:\n  - gain\n  - _self_\nwidth: -1\n")
    monkeypatch.chdir(tmp_path)
    one = Job(("curriculum=own",), tmp_path, "arm", "new", None, 10, 2)
    with pytest.raises(NotTimed, match="curriculum has no option 'own'"):
        run_shortly(one, tmp_path / "run")
    with pytest.raises(NotTimed, match="width=-1 lies outside"):
        run_shortly(one, tmp_path / "run", extra="mine")


def test_a_sweep_of_very_many_arms_is_listed_in_time(tmp_path, monkeypatch):
    """Composing one arm takes this clock a second."""
    monkeypatch.chdir(tmp_path)
    seconds = iter(range(1000))
    jobs = list_jobs(["curriculum.width=range(0.001,0.2,0.001)"], clock=lambda: float(next(seconds)))
    assert len(jobs) > 190
    assert len({(job.steps, job.evaluations) for job in jobs}) == 1


def test_data_that_take_too_long_to_read_leave_out_the_table_of_memory_and_not_the_jobs(tmp_path, monkeypatch, capsys):
    def endless(*given, **options):
        while True:
            with suppress(Exception):  # as a library that wraps what its caller raises
                sum(range(1000))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gainrl.app.preview._SECONDS", 20.5)
    monkeypatch.setattr("gainrl.app.memory_table.print_memory", endless)
    monkeypatch.setattr("gainrl.app.timing.run_shortly", lambda *_, **__: {"step": "6", "seconds/update": 6.0})
    assert preview(COMMAND, ["debug=fast", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "1 of 1 jobs to run" in out
    assert "memory: not computed, because the data could not be read in 1 s" in out


def test_arms_with_brackets_in_their_names_are_printed_as_they_are(capsys):
    arms = ["train=[/tmp/a.jsonl]", "train=[a]"]
    jobs = [Job((), Path(f"runs/{place}/s0"), arm, "new", None, 4, 2) for place, arm in enumerate(arms)]
    print_jobs(jobs, dict.fromkeys(arms, (None, "not timed")), Console(width=80))
    out = capsys.readouterr().out
    assert all(f" {arm} " in out for arm in arms)
    assert "directories: runs/0/s0 and so on" in out


def test_a_preview_leaves_a_timed_run_what_is_left_of_a_minute(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    clock = iter([0.0, 1.0, 35.0])  # at the start, before and after the table of memory
    monkeypatch.setattr("gainrl.app.preview.time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr("gainrl.app.preview._memory", lambda *_: (True, "", ""))
    given = []

    def timed(job, place, *, seconds, extra):
        given.append(seconds)
        raise NotTimed("the clock is a list")

    monkeypatch.setattr("gainrl.app.timing.run_shortly", timed)
    assert preview(COMMAND, ["-m", "baseline=gain_rl,vanilla_grpo", "--dry-run"]) == 0
    assert given == [15.0]
    out = capsys.readouterr().out
    assert " vanilla_grpo " in out  # as a report calls the arm
    assert "[1] not timed, because the clock is a list" in out


def test_a_timed_run_ends_when_its_time_is_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = Job(("debug=fast",), tmp_path, "arm", "new", None, 10, 2)
    with pytest.raises(NotTimed, match="0 s were not enough for its first step"):
        run_shortly(one, tmp_path / "run", seconds=0.05)
