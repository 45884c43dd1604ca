"""Loggers beside W&B, and several at a time."""

import csv
from types import SimpleNamespace

import pytest

from gainrl.app.errors import ConfigError
from gainrl.app.trackers import check_trackers, close_loggers, make_loggers, repair
from tests.composition import composed


def test_one_logger_of_each_name_in_the_order_typed(tmp_path):
    assert make_loggers(composed("logger=none", folder=tmp_path), tmp_path) == []
    (only,) = make_loggers(composed("logger=csv", folder=tmp_path), tmp_path)
    assert type(only).__name__ == "CSVLogger"
    several = make_loggers(composed("logger=[csv,wandb]", "logger.wandb.mode=offline", folder=tmp_path), tmp_path)
    assert [type(logger).__name__ for logger in several] == ["Tracker", "CSVLogger"]


def log_two_steps(loggers):
    for step in (1, 2):
        loggers[0].log_metrics({"reward": 0.5 * step, "eval/accuracy": 0.25}, step=step)
    close_loggers(loggers, failed=False)


def test_what_is_logged_is_in_the_table_of_lightning(tmp_path):
    loggers = make_loggers(composed("logger=csv", folder=tmp_path), tmp_path)
    log_two_steps(loggers)
    with open(tmp_path / "csv" / "version_0" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["reward"]) for row in rows] == [("1", "0.5"), ("2", "1.0")]


@pytest.mark.parametrize(("name", "package"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow")])
def test_a_logger_whose_library_is_missing_is_refused_with_what_to_install(monkeypatch, name, package):
    monkeypatch.setattr("gainrl.app.trackers.find_spec", lambda module: None)
    with pytest.raises(ConfigError, match=f"logger={name} needs .*; type pip install {package}"):
        check_trackers(composed(f"logger={name}"))


def test_a_logger_that_fails_is_left_alone_and_one_that_cannot_be_closed_ends_no_run(recwarn):
    def fails(status):
        raise OSError("the disk is full")

    broken = SimpleNamespace(finalize=fails)
    assert not repair(broken)
    close_loggers([broken], failed=True)
    assert "could not be closed (the disk is full)" in str(recwarn[0].message)


def test_a_curve_is_in_tensorboard_at_its_steps(tmp_path):
    pytest.importorskip("tensorboard", reason="needs pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log_two_steps(make_loggers(composed("logger=tensorboard", folder=tmp_path), tmp_path))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("reward")] == [(1, 0.5), (2, 1.0)]


def test_a_curve_is_in_mlflow_at_its_steps(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="needs pip install mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    loggers = make_loggers(composed("logger=mlflow", folder=tmp_path), tmp_path)
    log_two_steps(loggers)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    history = client.get_metric_history(loggers[0].run_id, "reward")
    assert [(point.step, point.value) for point in history] == [(1, 0.5), (2, 1.0)]
    assert client.get_run(loggers[0].run_id).info.status == "FINISHED"
