"""The commands as they are typed: arguments in, files, messages and exit codes out."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from gainrl.app import sweep, train
from tests.app.test_run import numbers, run, same
from tests.composition import SMALL, composed
from tests.docs.test_metrics import is_documented

ROOT = Path(__file__).parents[2]


def typed(*arguments: str, cwd: Path, cache: Path) -> subprocess.CompletedProcess:
    """``gainrl-train`` in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GAINRL_CACHE": str(cache), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "gainrl.app.train", *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )


@pytest.fixture
def command(monkeypatch, capfd, tmp_path):
    """``gainrl-train`` in this process: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments):
        monkeypatch.setattr(sweep, "_failed", [])
        monkeypatch.setattr(sys, "argv", ["gainrl-train", *arguments])
        monkeypatch.setattr(train, "_exit_code", 0)
        with pytest.raises(SystemExit) as done:
            train.cli()
        out, err = capfd.readouterr()
        code = done.value.code
        return (code if isinstance(code, int) else 1), out, err + (code if isinstance(code, str) else "")

    return call


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --------------------------------------------------------------------------- one run in a fresh process


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """``gainrl-train debug=fast`` where nothing has run before."""
    folder = tmp_path_factory.mktemp("fresh")
    return folder, typed("debug=fast", "logger=wandb", cwd=folder, cache=folder / "cache")


def only_run(folder: Path) -> Path:
    (record,) = folder.glob("runs/**/record.json")
    return record.parent


def test_the_debug_run_leaves_everything_that_a_run_leaves(fresh):
    folder, done = fresh
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    run_folder = only_run(folder)
    assert run_folder.relative_to(folder) == Path("runs/arithmetic/debug-fast/s0")
    record = json.loads((run_folder / "record.json").read_text())
    assert record["status"] == "finished"
    assert record["objective"] == record["metrics"]["accuracy_final"]
    assert 0 <= record["metrics"]["accuracy_initial"] <= 1
    assert len(record["fingerprint"]) == 16
    assert record["metrics"]["steps"] == 4
    assert {"rollout", "update", "evaluation", "refresh"} <= set(record["phase_seconds"])
    assert record["wall_seconds"] >= sum(record["phase_seconds"].values()) * 0.9
    assert record["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert "git_commit" in record
    with open(run_folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == [str(step) for step in range(5)]
    assert [row["step"] for row in rows if row["eval/accuracy"]] == ["0", "4"]
    assert len((run_folder / "rollouts.jsonl").read_text().splitlines()) == 4 * 8 * 8
    assert "seed: 0" in (run_folder / "config.yaml").read_text()
    picture = matplotlib.image.imread(run_folder / "curves.png")
    assert picture.shape[0] > 300
    assert picture.shape[1] > 900
    assert picture.std() > 0.01
    assert any((run_folder / "wandb").glob("offline-run-*"))


def test_every_logged_name_is_documented(fresh):
    with open(only_run(fresh[0]) / "metrics.csv", newline="") as file:
        names = next(csv.reader(file))
    assert [name for name in names if not is_documented(name)] == []


def test_the_trained_policy_is_an_ordinary_model_folder(fresh):
    policy = only_run(fresh[0]) / "policy"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(policy), AutoTokenizer.from_pretrained(policy)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "a1 b+2"}], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    assert model.generate(**ids, max_new_tokens=4, do_sample=False).shape[1] > ids["input_ids"].shape[1]


def test_the_terminal_shows_progress_a_table_by_level_and_no_noise(fresh):
    _, done = fresh
    assert "held-out accuracy" in done.stdout
    assert "Held-out accuracy (greedy)" in done.stdout
    assert "curves.png metrics.csv rollouts.jsonl record.json policy/" in done.stdout
    for noise in (
        "LitLogger",
        "GPU available",
        "does not have many workers",
        "You have overridden",
        "UserWarning",
        "WARNING",
    ):
        assert noise not in done.stdout + done.stderr


def test_a_rerun_returns_at_once_and_another_seed_in_the_same_directory_is_refused(fresh):
    folder, _ = fresh
    run_folder = only_run(folder)
    before = snapshot(folder)
    again = typed("debug=fast", "logger=wandb", cwd=folder, cache=folder / "cache")
    assert again.returncode == 0
    assert "nothing to do" in again.stdout
    other = typed(
        "debug=fast", "logger=wandb", "seed=1", f"hydra.run.dir={run_folder}", cwd=folder, cache=folder / "cache"
    )
    assert other.returncode == 1
    assert "holds another run" in other.stderr
    assert "seed: 0 there, 1 now" in other.stderr
    assert "Traceback" not in other.stderr
    assert snapshot(folder) == before


def test_a_job_late_in_a_process_equals_one_in_a_fresh_process(fresh, tmp_path):
    """Warm start, signal and training are all computed again here, behind other jobs."""
    run(tmp_path / "before", "seed=9")
    typed_run = only_run(fresh[0])
    train.run_job(composed("debug=fast", folder=tmp_path / "late"), Console(file=io.StringIO()))
    assert numbers(tmp_path / "late") == numbers(typed_run)
    assert same(tmp_path / "late", typed_run)


# ------------------------------------------------------------------------------------------------- help


def test_help_and_the_composed_configuration_are_readable(command):
    code, out, _ = command("--help")
    assert code == 0
    assert "gainrl-train baseline=vanilla_grpo seed=3" in out
    assert all(
        f"\n  {group} " in out for group in ("baseline", "curriculum", "signal", "algorithm", "dataset", "model")
    )
    assert max(map(len, out.splitlines())) < 130
    code, out, _ = command("--cfg", "job", "baseline=vanilla_grpo")
    assert code == 0
    assert "_target_: gainrl.curricula.uniform.UniformCurriculum" in out


# -------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("algorithm.group_size=1",), "algorithm.group_size=1: advantages compare"),
        (("algorithm.minibatch_prompts=3",), "algorithm.minibatch_prompts=3 does not divide"),
        (("schedule.prompts_per_step=5000",), "schedule.prompts_per_step=5000 is more than the"),
        (("curriculum.width=-1",), "width=-1 lies outside"),
        (("+curriculum.widht=0.1",), "did you mean curriculum.width=0.1?"),
        (("curriculum.widht=0.1",), "curriculum.widht"),
        (("curriculum=gian",), "gian"),
        (("schedule.steps=few",), "schedule.steps=few must be a whole number"),
        (("rollout.temperature=0",), "rollout.temperature=0 gives 8 equal completions"),
        (("rollout.max_new_tokens=500",), "rollout.max_new_tokens=500 fills the model's"),
        (("evaluation.every=0",), "evaluation.every=0"),
        (("optimizer.optimizer.lr=-1",), "learning rate"),
        (("concentration.tokens=all",), "concentration.tokens='all' is unknown"),
        (("concentration.tokens=prompt_and_completion", "concentration.inter=0"), "concentration.inter=0 would do"),
        (("concentration.layer=0",), "concentration.layer=0 contradicts signal.layer=-1"),
        (("concentration=null",), "curriculum.update=paper moves the centre by the concentration"),
        (("callbacks=[early_stopping]",), "callbacks lacks SignalRefresh"),
        (("logger=wandb", "logger.wandb.mode=loud"), "logger.wandb.mode='loud' is unknown"),
        (("model=hub",), "model.source has no value"),
        (("model=hub", "model.source=/nowhere/at/all"), "model.source=/nowhere/at/all is no folder"),
        (("sweep=a,b",), "Run one sweep after the other"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_gets_one_clear_message_before_any_weight_is_loaded(
    arguments, message, command, monkeypatch, tmp_path
):
    monkeypatch.setattr("gainrl.app.run.load_policy", lambda *given: pytest.fail("weights were loaded"))
    small = SMALL if not any(argument.startswith("model=hub") for argument in arguments) else ()
    code, out, err = command(*small, *arguments, "hydra.run.dir=bad")
    assert code != 0
    assert message in " ".join(err.split())
    assert "Traceback" not in out + err
    assert snapshot(tmp_path) == {}


def test_a_model_folder_without_a_chat_template_is_refused(command, fresh, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(only_run(fresh[0]) / "policy")
    folder = tmp_path / "plain"
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((only_run(fresh[0]) / "policy" / name).read_bytes())
    code, _, err = command("model=hub", f"model.source={folder}", "template=boxed", "hydra.run.dir=bad")
    assert code == 1
    assert "has no chat template" in " ".join(err.split())
    assert "Traceback" not in err


def test_a_directory_with_other_files_is_left_alone(command, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "notes.txt").write_text("mine")
    code, _, err = command(*SMALL, "hydra.run.dir=bad")
    assert code == 1
    assert "holds files but no run (notes.txt)" in " ".join(err.split())
    assert snapshot(tmp_path) == {"bad/notes.txt": b"mine"}


def test_a_traceback_is_shown_when_it_is_asked_for(command):
    code, _, err = command(*SMALL, "signal.layer=99", "records.traceback=true")
    assert code == 1
    assert "Traceback" in err


# ----------------------------------------------------------------------------------------------- sweeps


def test_one_failing_job_neither_stops_nor_spoils_the_others(command, tmp_path):
    jobs = ("-m", *SMALL, "logger=none", "curriculum.width=0.1,0.2,-1,0.3")
    code, out, err = command(*jobs)
    assert code == 1
    records = sorted((tmp_path / "runs" / "sweeps").rglob("record.json"))
    contents = [json.loads(path.read_text()) for path in records]
    assert [content["status"] for content in contents] == ["finished"] * 3
    assert len({content["fingerprint"] for content in contents}) == 3
    table = out[out.index("4 jobs in") :]
    assert table.count("│ finished") == 3
    assert "3 finished, 1 failed" in " ".join(table.split())
    assert "lies outside" in " ".join(table.split())
    assert "Traceback" not in out + err

    # Alone, the job behind the failed one does the same.
    alone = tmp_path / "alone"
    last = next(path.parent for path in records if "width-0.3" in str(path))
    assert command(*SMALL, "logger=none", "curriculum.width=0.3", f"hydra.run.dir={alone}")[0] == 0
    assert same(alone, last)

    before = {path: path.stat().st_mtime_ns for path in records}
    code, out, _ = command(*jobs)
    assert code == 1
    assert out.count("nothing to do") == 3
    assert {path: path.stat().st_mtime_ns for path in records} == before
