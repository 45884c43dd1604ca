import io
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from rich.console import Console

import gainrl.app.hardware as hardware
from gainrl.app.hardware import check_hardware, print_expectations, settle_threads
from gainrl.app.identity import RunRecord
from gainrl.signals.live import ConcentrationProbe
from gainrl.training.threads import ThreadChoice
from gainrl.types import SamplingParams
from tests.architectures import build_policy, build_prompts
from tests.training.rig import module_of


def config_of(**trainer):
    return OmegaConf.create(
        {"trainer": {"threads": 1, "compile": False, "liger": False, "accelerator": "cpu"} | trainer}
    )


@pytest.fixture
def screen():
    return Console(file=io.StringIO(), width=300)


@pytest.fixture
def threads(monkeypatch):
    """Numbers of threads that were set, in order; none is really set."""
    seen = []
    monkeypatch.setattr(torch, "set_num_threads", seen.append)
    return seen


def text_of(console):
    return console.file.getvalue()


def data_of(*lengths):
    prompts = build_prompts(list(lengths))
    return SimpleNamespace(prompts=lambda rows: [prompts[row] for row in rows], problems=prompts)


def test_threads_are_set_as_told_and_one_until_auto_has_tried(threads):
    check_hardware(config_of(threads=3))
    check_hardware(config_of(threads="auto"))
    assert threads == [3, 1]


def test_liger_without_a_gpu_is_refused(threads, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"trainer\.liger=false"):
        check_hardware(config_of(liger=True))


def test_auto_says_what_it_tried_and_keeps_its_choice_when_the_run_goes_on(tmp_path, screen, threads, monkeypatch):
    tried = []

    def faster(work, candidates):
        tried.append(candidates)
        return ThreadChoice(4, {1: 0.2, 4: 0.1})

    monkeypatch.setattr(hardware, "available_threads", lambda: 4)
    monkeypatch.setattr(hardware, "faster_threads", faster)
    module, data = module_of(policy=build_policy("llama")), data_of(4, 5)
    record = RunRecord(tmp_path)
    settle_threads(config_of(threads="auto"), record, module, data, screen)
    assert tried == [[1, 4]]
    assert "threads: 4 threads (of a training pass with 1: 200 ms, 4: 100 ms)" in text_of(screen)
    settle_threads(config_of(threads="auto"), RunRecord(tmp_path), module, data, screen)
    assert tried == [[1, 4]]
    assert threads == [4, 4]  # the trial leaves its choice set, and the later run sets it


def test_a_single_processor_needs_no_trial(tmp_path, screen, monkeypatch):
    monkeypatch.setattr(hardware, "available_threads", lambda: 1)
    monkeypatch.setattr(hardware, "faster_threads", lambda *a: pytest.fail("there was nothing to choose"))
    settle_threads(config_of(threads="auto"), RunRecord(tmp_path), module_of(), data_of(4), screen)
    assert "threads: 1" in text_of(screen)


@pytest.mark.parametrize(
    ("architecture", "settings", "said"),
    [
        ("llama", {}, False),
        ("mistral", {}, True),
        ("llama", {"shards": 2}, True),
        ("llama", {"probe_completions": True}, True),
    ],
)
def test_compiling_what_never_runs_is_named(architecture, settings, said, tmp_path, screen):
    policy = build_policy(architecture)
    probe = {"probe": ConcentrationProbe(policy.model)} if "probe_completions" in settings else {}
    module = module_of(policy=policy, **probe, **{k: v for k, v in settings.items() if k != "shards"})
    options = {"shards": settings.get("shards", 1)}
    print_expectations(RunRecord(tmp_path), module, data_of(4, 9), screen, compiled=True, **options)
    assert ("trainer.compile=true has no effect" in text_of(screen)) is said


@pytest.mark.parametrize(("architecture", "shares"), [("llama", True), ("mistral", False), ("lfm2", False)])
def test_a_model_that_cannot_share_prompts_is_named_once(architecture, shares, tmp_path, screen):
    policy = build_policy(architecture)
    module = module_of(policy=policy, sampling=SamplingParams(group_size=4, max_new_tokens=6))
    record = RunRecord(tmp_path)
    print_expectations(record, module, data_of(4, 9), screen)
    said = text_of(screen)
    assert said.count("cannot share") == (0 if shares else 1)
    assert shares or type(policy.model).__name__ in said
    weights = 4 * sum(weight.numel() for weight in policy.model.parameters())
    held_already = record.content["memory"]["expected_bytes"]
    assert held_already > 3 * weights  # gradients and both states of the optimizer
    print_expectations(record, module, data_of(4, 9), screen, cuda=False)
    assert record.content["memory"]["expected_bytes"] == held_already
    assert "expected at the peak" in said
