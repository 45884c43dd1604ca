"""What two ranks hold and compute when a model trains in shards."""

from __future__ import annotations

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh

from gainrl.models.lora import add_adapter
from gainrl.models.scoring import completion_scores
from gainrl.training.distributed.ranks import Ranks, inside, local_part, undo_average
from gainrl.training.distributed.sharding import WholeCopy, lower_linear, shard
from gainrl.training.scorer import Reference
from gainrl.types import Policy
from tests.architectures import build_policy, build_prompts
from tests.training.distributed.forked import forked

MIXED = {"device_type": "cpu", "dtype": torch.bfloat16}
IDS = torch.arange(24).reshape(4, 6) % 20 + 2
LENGTHS = torch.tensor([6, 3, 5, 6])


def scores(policy):
    """Log-probs of two completions of each of two prompts, through shards or not."""
    return inside(
        policy.model,
        lambda: completion_scores(policy, build_prompts([4, 7]), IDS, LENGTHS, 2, share_prompts=False),
    ).logprobs


def logprobs(policy):
    """The same without gradients."""
    return scores(policy).detach()


def held(model):
    """Bytes of this rank's part of the weights."""
    return sum(local_part(weight).numel() * weight.element_size() for weight in model.parameters())


def mesh():
    return init_device_mesh("cpu", (2,))


def as_policy(model, base):
    return Policy(model, base.tokenizer, base.stop_ids, base.pad_id)


def test_each_rank_holds_half_of_what_trains_and_scores_as_one_process_does(tmp_path):
    def work(rank):
        policy = build_policy("llama")
        trained = as_policy(shard(policy.model, mesh()), policy)
        own = {weight.untyped_storage().data_ptr() for weight in policy.model.parameters()}
        shared = any(local_part(w).untyped_storage().data_ptr() in own for w in trained.model.parameters())
        share = held(trained.model) / held(policy.model)
        ours, theirs = logprobs(trained), logprobs(policy)
        return share, shared, (ours - theirs).abs().max().item()

    for share, shared, difference in forked(work, tmp_path):
        assert share == pytest.approx(0.5, abs=0.05)
        assert not shared
        assert difference < 1e-5


def test_in_mixed_precision_layers_are_gathered_in_bfloat16_and_weights_and_gradients_stay_float32(tmp_path):
    def work(rank):
        policy, seen = build_policy("llama"), {}
        trained = as_policy(shard(policy.model, mesh(), mixed=torch.bfloat16), policy)
        layer = trained.model.model.layers[0]
        layer.self_attn.q_proj.register_forward_hook(lambda m, i, o: seen.update(weight=m.weight.dtype))
        layer.register_forward_hook(lambda m, i, o: seen.update(states=(o[0] if isinstance(o, tuple) else o).dtype))
        trained.model.lm_head.register_forward_hook(lambda *given: None)
        with torch.autocast(**MIXED):
            ours = scores(trained)
            ours.sum().backward()
            theirs = scores(policy)
            theirs.sum().backward()
        undo_average(trained.model, Ranks(rank, 2))  # both ranks have run the same rows
        pairs = list(zip(trained.model.parameters(), policy.model.parameters(), strict=True))
        found, wanted = (
            torch.cat([g.flatten() for g in grads])
            for grads in ([a.grad.full_tensor() / 2 for a, _ in pairs], [b.grad for _, b in pairs])
        )
        far = float((found - wanted).norm() / wanted.norm())
        kinds = {a.dtype for a, _ in pairs} | {a.grad.dtype for a, _ in pairs}
        return seen, [str(kind) for kind in kinds], (ours - theirs).abs().mean().item(), far

    for seen, kinds, difference, far in forked(work, tmp_path):
        assert seen == {"weight": torch.bfloat16, "states": torch.float32}
        assert kinds == ["torch.float32"]
        assert difference < 0.05
        assert far < 0.05


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])  # the second ties its head to its embeddings
def test_the_whole_copy_holds_nothing_while_the_step_is_learned_from_and_the_new_weights_after_it(
    tmp_path, architecture
):
    def work(rank):
        policy = build_policy(architecture)
        trained = as_policy(shard(policy.model, mesh()), policy)
        copied, version = WholeCopy(trained.model, policy.model), policy.version
        copied.release()
        empty = held(policy.model)
        scores(trained).sum().backward()
        torch.optim.SGD(trained.model.parameters(), lr=0.1).step()
        copied.fill()
        after = (logprobs(trained) - logprobs(policy)).abs().max().item()
        copied.take_masters(keep=rank == 0)
        whole = [w.full_tensor() for w in trained.model.parameters()]
        kept = [torch.equal(a, b) for a, b in zip(whole, policy.model.parameters(), strict=True) if b.numel()]
        return empty, policy.version > version, after, kept, held(policy.model)

    first, second = forked(work, tmp_path)
    for empty, newer, after, *_ in (first, second):
        assert (empty, newer) == (0, True)
        assert after < 1e-5
    assert first[3]
    assert all(first[3])
    assert second[3:] == ([], 0)


def test_the_reference_is_in_shards_too_and_follows_the_policy_when_asked(tmp_path):
    def work(rank):
        policy = build_policy("llama")
        trained = as_policy(policy.model, policy)
        reference = Reference(trained, deferred=True)
        start = logprobs(policy).detach()
        trained.model = shard(policy.model, mesh())
        reference.put_in_shards(policy.model, mesh(), None)
        (scores(trained).sum() * 10).backward()
        torch.optim.SGD(trained.model.parameters(), lr=0.1).step()
        moved = logprobs(trained).detach()
        with reference.active() as frozen:
            size = held(frozen.model) / held(policy.model)
            found = logprobs(frozen)
            trains = any(weight.requires_grad for weight in frozen.model.parameters())
        reference.sync(1.0)
        with reference.active() as frozen:
            synced = logprobs(frozen)
        kept = local_part(reference.state_dict()["lm_head.weight"]).numel() / policy.model.lm_head.weight.numel()
        differences = [float((a - b).abs().max()) for a, b in ((found, start), (synced, moved), (moved, start))]
        return size, trains, differences, kept

    for size, trains, (at_start, follows, moved), kept in forked(work, tmp_path):
        assert size == pytest.approx(0.5, abs=0.05)
        assert not trains
        assert at_start < 1e-5
        assert follows < 1e-5
        assert moved > 1e-3
        assert kept == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("mixed", [None, torch.bfloat16])
def test_adapters_train_in_shards_and_their_reference_is_the_model_without_them(tmp_path, mixed):
    pytest.importorskip("peft")
    close = 1e-5 if mixed is None else 0.15

    def work(rank):
        torch.set_autocast_enabled("cpu", mixed is not None)
        policy = build_policy("llama")
        start = logprobs(policy).detach()
        policy.model = add_adapter(policy.model, rank=2)
        trained = as_policy(policy.model, policy)
        reference = Reference(trained, deferred=True)
        trained.model = shard(policy.model, mesh(), mixed=mixed)
        reference.put_in_shards(policy.model, mesh(), mixed)
        copied = WholeCopy(trained.model, policy.model, mixed=mixed)
        with reference.active() as frozen:  # the first forward of the shards
            logprobs(frozen)
        for _ in range(2):  # the first step moves one half of the adapter only
            trained.model.zero_grad()
            (scores(trained).sum() * 10).backward()
            gradients = {name for name, weight in trained.model.named_parameters() if weight.grad is not None}
            torch.optim.SGD([w for w in trained.model.parameters() if w.requires_grad], lr=0.1).step()
        copied.release()
        copied.fill()
        with reference.active() as frozen:
            before = (logprobs(frozen) - start).abs().max().item()
        adapters = all(".lora_" in name for name in gradients)
        same = (logprobs(trained) - logprobs(policy)).abs().max().item()
        return adapters, before, same, (logprobs(policy) - start).abs().max().item()

    for adapters, before, same, moved in forked(work, tmp_path):
        assert adapters
        assert before < close
        assert same < close
        assert moved > 1e-3


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2"])
def test_linear_layers_in_the_precision_of_autocast_give_its_bits(architecture):
    policy = build_policy(architecture)
    with torch.autocast(**MIXED), torch.no_grad():
        expected = logprobs(policy)
        lower_linear(policy.model, torch.bfloat16)
        torch.testing.assert_close(logprobs(policy), expected, rtol=0, atol=0)
    assert policy.model.get_output_embeddings().weight.dtype == torch.float32
    kinds = {weight.dtype for weight in policy.model.parameters()}
    assert kinds == ({torch.float32} if architecture == "gpt2" else {torch.float32, torch.bfloat16})
