"""W&B out of reach: the run goes on, and what it would have sent is kept."""

from __future__ import annotations

import pytest
import wandb
from omegaconf import OmegaConf

from gainrl.app.tracking import close_logger, make_logger

RUN = {"arm": "a", "experiment": None, "sweep": None}
WANDB = {"mode": "auto", "project": "p", "entity": None, "tags": [], "notes": None, "samples_every": 25, "samples": 16}
CONFIG = OmegaConf.create({"seed": 0, "logger": {"wandb": WANDB}, "run": RUN})


class Unreachable:
    def __init__(self, *, offline: bool, **settings) -> None:
        self.offline = offline
        self._wandb_init: dict = {}

    @property
    def experiment(self):
        assert not self.offline, "an offline run has nothing to connect to"
        raise ConnectionError("no route to host")


def test_a_server_that_cannot_be_reached_leaves_an_offline_run(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr("gainrl.app.tracker.Tracker", Unreachable)
    with pytest.warns(UserWarning, match="cannot be reached .*no route to host.*wandb sync"):
        assert make_logger(CONFIG, tmp_path).offline


def test_offline_runs_do_not_try_to_connect(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("gainrl.app.tracker.Tracker", Unreachable)
    assert make_logger(CONFIG, tmp_path).offline


def test_a_tracker_that_cannot_be_closed_fails_no_run(monkeypatch):
    def broken(**settings):
        raise BrokenPipeError("its process is gone")

    monkeypatch.setattr(wandb, "run", object())
    monkeypatch.setattr(wandb, "finish", broken)
    with pytest.warns(UserWarning, match="could not be closed .*its process is gone"):
        close_logger(object(), failed=False)
