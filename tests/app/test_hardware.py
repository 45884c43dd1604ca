import io
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from rich.console import Console

from gainrl.app.hardware import check_hardware, print_expectations
from gainrl.app.identity import RunRecord
from gainrl.rollouts.hf import HFEngine
from gainrl.training.callbacks import Evaluation
from gainrl.training.concentration_settings import Concentration
from gainrl.training.upkeep.peak import Plan
from gainrl.types import SamplingParams
from tests.architectures import build_policy, build_prompts
from tests.training.rig import module_of, sums


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


def test_the_number_of_threads_is_set_as_typed(threads):
    check_hardware(config_of(threads=3))
    assert threads == [3]
    for value in ("auto", 0, True):
        with pytest.raises(ValueError, match=r"must be a number of threads, 1 or more; type trainer\.threads=1"):
            check_hardware(config_of(threads=value))


def test_liger_without_a_gpu_is_refused(threads, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"trainer\.liger=false"):
        check_hardware(config_of(liger=True))


@pytest.mark.parametrize(
    ("architecture", "settings", "named"),
    [
        ("llama", {}, False),
        ("mistral", {}, True),
        ("llama", {"shards": 2}, True),
        ("llama", {"concentration": Concentration(with_completions=True)}, True),
    ],
)
def test_compiling_what_never_runs_is_named(architecture, settings, named, tmp_path, screen):
    policy = build_policy(architecture)
    module = module_of(policy=policy, **{k: v for k, v in settings.items() if k != "shards"})
    options = {"plan": Plan(shards=settings.get("shards", 1))}
    print_expectations(RunRecord(tmp_path), module, data_of(4, 9), screen, compiled=True, **options)
    assert ("trainer.compile=true has no effect" in text_of(screen)) is named


def test_an_evaluation_of_the_run_counts_where_it_needs_most(tmp_path, screen):
    module = module_of(micro_batch_tokens=8, engine=HFEngine())
    data = data_of(4, 9)
    data.held_out, data.compare_by = sums(held_out=400).held_out, "level"
    evaluation = Evaluation(every=1, samples=3, max_new_tokens=6)
    record = RunRecord(tmp_path)
    print_expectations(record, module, data, screen)
    alone = record.content["memory"]["expected_bytes"]
    print_expectations(record, module, data, screen, [evaluation])
    assert record.content["memory"]["expected_bytes"] > alone
    assert text_of(screen).count("in an evaluation cache") == 1
    assert text_of(screen).count("free between tensors") == 2


@pytest.mark.parametrize(("architecture", "shares"), [("llama", True), ("mistral", False), ("lfm2", False)])
def test_a_model_that_cannot_share_prompts_is_named_once(architecture, shares, tmp_path, screen):
    policy = build_policy(architecture)
    module = module_of(policy=policy, sampling=SamplingParams(group_size=4, max_new_tokens=6))
    record = RunRecord(tmp_path)
    print_expectations(record, module, data_of(4, 9), screen)
    message = text_of(screen)
    assert message.count("cannot share") == (0 if shares else 1)
    assert shares or type(policy.model).__name__ in message
    weights = 4 * sum(weight.numel() for weight in policy.model.parameters())
    held_already = record.content["memory"]["expected_bytes"]
    assert held_already > 3 * weights  # gradients and both states of the optimizer
    print_expectations(record, module, data_of(4, 9), screen, plan=Plan(cuda=False))
    assert record.content["memory"]["expected_bytes"] == held_already
    assert "expected at the peak" in message
