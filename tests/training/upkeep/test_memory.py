"""An update in shards that runs out of memory: what it says, and what the next start makes of it."""

import json

import pytest
import torch

from gainrl.training.batching import MiniBatch
from gainrl.training.upkeep.memory import DoesNotFit, once_in_shards, remember_limit, remembered_limit


def exhausted():
    raise torch.OutOfMemoryError("no memory")


def plan(*sizes):
    return MiniBatch(torch.arange(sum(sizes)), [torch.arange(size) for size in sizes], None)  # type: ignore[arg-type]


def test_it_ends_with_one_message_and_half_the_micro_batches_for_the_next_start(tmp_path):
    with pytest.raises(
        DoesNotFit, match="The same command goes on from the last checkpoint with micro-batches of 2048"
    ):
        once_in_shards(exhausted, plan(3, 1), 4096)
    with pytest.raises(DoesNotFit) as fault:
        once_in_shards(exhausted, plan(3, 1), 4096)
    assert fault.value.tokens == 2048
    assert remembered_limit(tmp_path) is None
    remember_limit(tmp_path, 2048)
    assert remembered_limit(tmp_path) == 2048
    assert json.loads((tmp_path / "memory.json").read_text()) == {"micro_batch_tokens": 2048}


def test_single_completions_that_do_not_fit_need_another_setting():
    with pytest.raises(DoesNotFit, match=r"a single completion. Type model.gradient_checkpointing=true") as fault:
        once_in_shards(exhausted, plan(1, 1), 4096)
    assert fault.value.tokens is None


def test_other_faults_and_results_pass_through():
    assert once_in_shards(lambda: 7, plan(2), 4096) == 7
    with pytest.raises(ZeroDivisionError):
        once_in_shards(lambda: 1 // 0, plan(2), 4096)
