import io

import pytest
from omegaconf import OmegaConf
from rich.console import Console

import gainrl.training.precision_choice as measured
from gainrl.app.identity import RunRecord, fingerprint, plain_config
from gainrl.app.precision import settle_precision
from gainrl.training.precision_choice import PrecisionChoice


@pytest.fixture
def screen():
    return Console(file=io.StringIO(), width=200)


def config_of(precision="auto"):
    return OmegaConf.create({"trainer": {"precision": precision, "accelerator": "cpu"}})


def machine(monkeypatch, precision):
    """A machine that is faster with this precision, and has bfloat16 if it is that."""
    monkeypatch.setattr(measured, "choose_precision", lambda **_: PrecisionChoice(precision, "tried"))
    monkeypatch.setattr(measured, "has_bfloat16", lambda **_: precision == "bf16-mixed")


def settled(config, folder, screen):
    settle_precision(config, folder, screen)
    return config.trainer.precision


def test_auto_becomes_what_suits_the_machine_and_is_said(tmp_path, screen, monkeypatch):
    machine(monkeypatch, "bf16-mixed")
    assert settled(config_of(), tmp_path, screen) == "bf16-mixed"
    assert screen.file.getvalue() == "precision: bf16-mixed (tried)\n"


def test_what_was_typed_stays_and_nothing_is_tried(tmp_path, screen, monkeypatch):
    monkeypatch.setattr(measured, "choose_precision", lambda **_: pytest.fail("tried"))
    assert settled(config_of("32-true"), tmp_path, screen) == "32-true"
    assert screen.file.getvalue() == ""


@pytest.mark.parametrize("first", ["32-true", "bf16-mixed"])
def test_a_run_that_goes_on_elsewhere_keeps_the_precision_it_began_with(tmp_path, screen, monkeypatch, first):
    machine(monkeypatch, first)
    began = config_of()
    settle_precision(began, tmp_path, screen)
    RunRecord(tmp_path).begin(plain_config(began))
    (tmp_path / "metrics.csv").touch()
    machine(monkeypatch, "bf16-mixed" if first == "32-true" else "32-true")
    again = config_of()
    assert settled(again, tmp_path, screen) == first
    assert fingerprint(plain_config(again)) == RunRecord(tmp_path).content["fingerprint"]
    assert ("this machine has no bfloat16" in screen.file.getvalue()) == (first == "bf16-mixed")


def test_two_precisions_are_two_runs(tmp_path):
    assert fingerprint(plain_config(config_of("32-true"))) != fingerprint(plain_config(config_of("bf16-mixed")))
