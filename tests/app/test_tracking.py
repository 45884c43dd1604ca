import json

import pytest
import wandb

from gainrl.app.errors import ConfigError
from gainrl.app.identity import fingerprint, plain_config
from gainrl.app.tracker import completions_of
from gainrl.app.tracking import close_logger, make_logger, wandb_mode
from tests.app.wandb_file import read_offline
from tests.composition import composed


@pytest.fixture
def keyless(monkeypatch, tmp_path):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    return tmp_path


def test_without_a_key_a_run_is_offline_and_with_one_online(keyless, monkeypatch):
    assert wandb_mode("auto") == "offline"
    (keyless / ".netrc").write_text("machine api.wandb.ai\n  login user\n  password k\n")
    (keyless / ".netrc").chmod(0o600)
    assert wandb_mode("auto") == "online"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert wandb_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "k")
    assert wandb_mode("auto") == "online"


def test_what_is_asked_for_counts_and_the_environment_has_the_last_word(keyless, monkeypatch):
    assert wandb_mode("online") == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert wandb_mode("online") == "disabled"


def test_a_broken_netrc_is_no_key(keyless):
    (keyless / ".netrc").write_text("machine")
    assert wandb_mode("auto") == "offline"


def test_a_run_is_grouped_by_its_arm_and_identified_by_its_fingerprint(tmp_path):
    config = composed("seed=3", "run.experiment=study", folder=tmp_path)
    logger = make_logger(config, tmp_path)
    settings = logger._wandb_init
    assert (settings["group"], settings["name"]) == ("arm", "arm-s3")
    assert settings["id"] == fingerprint(plain_config(config))
    assert settings["resume"] == "allow"
    assert settings["tags"] == ["study"]
    assert logger._offline
    close_logger(logger, failed=False)  # nothing was started, nothing to end


def test_an_offline_run_holds_everything_that_a_server_would(tmp_path):
    config = composed("seed=3", "run.arm=baseline-gain_rl", "run.experiment=study", "run.sweep=seeds", folder=tmp_path)
    logger = make_logger(config, tmp_path)
    rows = [
        {"step": step, "generated_tokens": 100 * step, "eval/accuracy": score} for step, score in enumerate((0.25, 0.5))
    ]
    for row in rows:
        logger.log_metrics(row, step=row["step"])
    close_logger(logger, failed=False)
    wandb.teardown()  # W&B's own process writes the file, and is done with it when it has ended
    kept = read_offline(tmp_path)
    run = kept["run"]
    assert (run.run_group, run.display_name) == ("seeds/baseline-gain_rl", "baseline-gain_rl-s3")
    assert run.run_id == fingerprint(plain_config(config))
    assert list(run.tags) == ["study", "seeds"]
    plain = plain_config(config)
    assert {key: kept["config"][key] for key in plain} == plain
    assert [{key: row[key] for key in rows[0]} for row in kept["history"]] == rows
    assert {key: kept["summary"][key] for key in rows[0]} == rows[-1]
    assert kept["exit"] == 0


def test_what_is_typed_reaches_wandb(tmp_path):
    typed = ["entity=my-team", "project=mine", "tags=[first,second]", "notes='why, again?'", "mode=offline"]
    settings = make_logger(
        composed(*(f"logger.wandb.{text}" for text in typed), "run.sweep=baseline", folder=tmp_path), tmp_path
    )._wandb_init
    assert (settings["entity"], settings["project"], settings["notes"]) == ("my-team", "mine", "why, again?")
    assert settings["tags"] == ["first", "second", "baseline"]


def test_tags_are_a_list(tmp_path):
    with pytest.raises(ConfigError, match=r"type 'logger.wandb.tags=\[one\]'"):
        make_logger(composed("logger.wandb.tags=one", folder=tmp_path), tmp_path)


def test_budgets_are_axes_and_completions_a_table(tmp_path):
    logger = make_logger(composed("logger.wandb.samples_every=2", "logger.wandb.samples=2", folder=tmp_path), tmp_path)
    lines = [
        {"step": step, "id": f"p{row}", "reward": row / 2, "completion": "x"} for step in (1, 2) for row in range(3)
    ]
    (tmp_path / "rollouts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for step in (1, 2):
        logger.log_metrics({"step": step, "prompts_seen": 8 * step, "reward": 0.5}, step=step)
    close_logger(logger, failed=False)
    wandb.teardown()
    kept = read_offline(tmp_path)
    assert {"step", "prompts_seen", "rollouts", "generated_tokens", "wall_seconds"} <= kept["axes"]
    (table,) = [row["completions.path"] for row in kept["history"] if "completions.path" in row]
    (file,) = tmp_path.glob(f"wandb/offline-run-*/files/{table}")
    shown = json.loads(file.read_text())
    assert [row[shown["columns"].index("id")] for row in shown["data"]] == ["p2", "p0"]


def test_completions_of_a_step_are_the_best_and_the_worst(tmp_path):
    path = tmp_path / "rollouts.jsonl"
    assert completions_of(path, 1, 4) == []
    rows = [{"step": step, "id": str(row), "reward": float(row)} for step in (1, 2) for row in range(5)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [row["id"] for row in completions_of(path, 2, 3)] == ["4", "3", "0"]
    assert len(completions_of(path, 2, 9)) == 5
    assert completions_of(path, 1, 4) == []  # a later step has been written


def test_seeds_of_an_arm_share_its_group_and_arms_do_not(tmp_path):
    def settings(*overrides):
        return make_logger(composed(*overrides, folder=tmp_path), tmp_path)._wandb_init

    first, second = settings("seed=0", "run.arm=a"), settings("seed=1", "run.arm=a")
    assert first["group"] == second["group"] != settings("seed=0", "run.arm=b")["group"]
    assert len({first["id"], second["id"]}) == len({first["name"], second["name"]}) == 2


def test_there_may_be_no_logger(tmp_path, monkeypatch):
    assert make_logger(composed("logger=none"), tmp_path) is None
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert make_logger(composed(), tmp_path) is None


def test_an_unknown_mode_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"mode='sometimes' is unknown; use one of auto, online, offline, disabled"):
        make_logger(composed("logger.wandb.mode=sometimes"), tmp_path)
