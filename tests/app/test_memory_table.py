"""The memory that ``--dry-run`` prints: of the run as it would start here, and on GPUs."""

import io
import re

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from gainrl.app.memory_table import planned_processes, print_memory
from gainrl.app.planned import composed, single_job
from gainrl.training.upkeep.peak import Plan

SMALL = ["debug=fast", "logger=none", "model.hidden_size=16", "model.heads=2", "model.warm_start=null"]


@pytest.fixture
def lines(tmp_path, monkeypatch):
    """A function of settings: whether the run fits, and the printed lines."""
    monkeypatch.chdir(tmp_path)

    def printed(*settings):
        console = Console(record=True, width=80, file=io.StringIO())
        fits = print_memory(composed(single_job([*SMALL, *settings])[0]), console)
        return fits, console.export_text().splitlines()

    return printed


def cells(lines, label):
    """The numbers of a row, whose label is whole in a terminal of 80 columns."""
    row = next(line for line in lines if line.strip().startswith(label))
    return re.split(r"\s{2,}", row.strip().removeprefix(label).strip())


def test_a_run_is_shown_here_and_on_gpus_whose_shards_shrink_with_their_number(lines):
    fits, text = lines("algorithm.objective.beta=0.04", "trainer.strategy=fsdp", "trainer.num_nodes=16")
    assert fits
    assert any(line.split() == ["here", "2", "GPUs", "4", "GPUs", "8", "GPUs"] for line in text)
    assert cells(text, "held by") == ["fsdp x 16", "1 GPU", "fsdp", "fsdp", "fsdp"]
    assert len(cells(text, "weights, whole or cast")) == 4
    sizes = [float(cell.split()[0]) for cell in cells(text, "optimizer")[1:]]
    assert all("MiB" in cell for cell in cells(text, "peak"))
    assert sizes == sorted(sizes, reverse=True)


def test_a_run_on_the_cpu_is_shown_there_alone(lines):
    _, text = lines("trainer.accelerator=cpu")
    assert cells(text, "held by") == ["here"]
    headings = [place for place, line in enumerate(text) if line.strip() == "in an evaluation"]
    assert len(headings) == 1
    assert text[headings[0] + 1].startswith("  cache")
    assert "MiB" in cells(text, "free between tensors")[0]


def test_a_part_that_nothing_needs_has_no_heading(lines):
    _, text = lines("trainer.accelerator=cpu", "~callbacks.evaluation")
    assert not any("in an evaluation" in line for line in text)


def test_a_run_that_would_be_refused_is_refused_with_what_to_change(lines, monkeypatch):
    monkeypatch.setattr("gainrl.app.hardware.plan_of", lambda config, processes: Plan(cuda=True, device_bytes=2**16))
    fits, text = lines()
    assert not fits
    assert any("this run needs" in line for line in text)


@pytest.mark.parametrize(
    ("strategy", "devices", "nodes", "gpus", "expected"),
    [
        ("single", 1, 1, 8, 1),
        ("ddp", "auto", 1, 8, 8),
        ("fsdp", 4, 2, 8, 8),
        ("fsdp", [0, 3], 1, 8, 2),
        ("ddp", "auto", 1, 0, 1),
    ],
)
def test_processes_are_counted_before_they_start(strategy, devices, nodes, gpus, expected):
    trainer = OmegaConf.create({"strategy": strategy, "devices": devices, "num_nodes": nodes})
    assert planned_processes(trainer, gpus=gpus) == expected


def test_models_without_a_skeleton_are_said_to_be_unknown(lines, monkeypatch):
    monkeypatch.delattr("gainrl.models.tiny.TinyModel.skeleton")
    fits, text = lines()
    assert fits
    assert text == ["memory: not known for a TinyModel"]
