"""The expected peak against what a step of training really holds, tensor by tensor."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from transformers import MambaConfig, MambaForCausalLM

from gainrl.functional.footprint import BatchSizes, footprint
from gainrl.models.lora import add_adapter
from gainrl.models.scoring import chunk_entries, completion_scores
from gainrl.models.tiny import TinyModel
from gainrl.rollouts.hf import HFEngine
from gainrl.training.distributed.ranks import Ranks, inside, local_part
from gainrl.training.distributed.sharding import shard
from gainrl.training.scorer import Reference
from gainrl.training.upkeep.peak import Plan, expected_footprint, model_sizes
from gainrl.types import SamplingParams
from tests.architectures import build_prompts
from tests.memory_held import MemoryHeld
from tests.rollouts.test_hf import keys_for
from tests.training.distributed.forked import forked
from tests.training.distributed.test_shards_of_two import mesh
from tests.training.rig import ScriptedEngine, data_of, fit, module_of


def step_of(*, lora: int = 0, **settings):
    """A run of two steps whose completions are as long as they may be."""
    policy = TinyModel(hidden_size=64, intermediate_size=256, layers=4, heads=4, max_length=256).load()
    if lora:
        policy.model = add_adapter(policy.model, rank=lora)
    engine = ScriptedEngine(*(f"{digit} + 2 = 3 " * 9 for digit in range(1, 5)))
    return module_of(
        policy,
        engine=engine,
        sampling=SamplingParams(group_size=4, max_new_tokens=90),
        optimizer=partial(torch.optim.AdamW, lr=1e-4, foreach=False),
        **settings,
    )


SETTINGS = {
    "plain": {},
    "reference": {"objective": {"beta": 0.04}},
    "adapter": {"lora": 4},
    "small micro-batches": {"micro_batch_tokens": 400},
}
CASES = [(kind, precision) for kind in SETTINGS for precision in ("32-true", "bf16-mixed")][:-1]


@pytest.mark.parametrize(("kind", "precision"), [*CASES, ("plain", "bf16-master"), ("adapter", "bf16-master")])
def test_the_expected_peak_of_an_update_is_within_a_quarter_of_what_is_held(kind, precision):
    pure = precision == "bf16-master"
    module = step_of(pure_bfloat16=pure, **SETTINGS[kind])
    data = data_of(module, steps=2)
    prompt = max(map(len, data.prompts(range(len(data.problems)))))
    expected = expected_footprint(module, prompt, Plan(mixed=precision == "bf16-mixed", pure=pure))
    with MemoryHeld() as memory:
        fit(module, data, precision="32-true" if pure else precision)
    assert module.experience.lengths.unique().tolist() == [90]  # as long as they may be
    assert module.counters.updates == 2
    assert (expected.held + expected.update) / memory.most == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize(("prompt", "completion", "rows"), [(20, 24, 32), (200, 4, 8)], ids=["completions", "prompts"])
def test_the_expected_peak_of_a_rollout_is_within_a_quarter_of_what_is_held(prompt, completion, rows, mixed):
    policy = TinyModel(hidden_size=64, intermediate_size=256, layers=2, heads=4, max_length=256).load()
    policy.stop_ids = ()
    sampling = SamplingParams(group_size=4, max_new_tokens=completion)
    module = module_of(policy, engine=HFEngine(), sampling=sampling, prompts_per_step=rows // 4)
    expected = expected_footprint(module, prompt, Plan(mixed=mixed))
    with MemoryHeld() as memory, torch.autocast("cpu", torch.bfloat16, enabled=mixed), torch.no_grad():
        for weight in policy.model.parameters():
            weight.sum()
        HFEngine().generate(policy, build_prompts([prompt] * (rows // 4)), sampling, keys_for(rows // 4))
    assert (expected.weights + expected.rollout) / memory.most == pytest.approx(1, abs=0.25)


def test_a_model_without_attention_heads_has_sizes_too():
    with torch.device("meta"):
        model = MambaForCausalLM(MambaConfig(vocab_size=50, hidden_size=16, state_size=4, num_hidden_layers=2))
    sizes = model_sizes(model)
    assert (sizes.layers, sizes.hidden_width, sizes.key_value_width) == (2, 16, 0)
    assert sizes.parameters == sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize(
    ("strategy", "precision", "extra"),
    [
        ("ddp", "32-true", "plain"),
        ("ddp", "32-true", "adapter"),
        ("ddp", "bf16-mixed", "reference"),
        ("fsdp", "32-true", "plain"),
        ("fsdp", "bf16-mixed", "reference"),
        ("fsdp", "bf16-mixed", "adapter"),
        ("fsdp", "bf16-master", "reference"),
    ],
)
def test_the_expected_peak_of_an_update_is_within_a_quarter_of_what_each_of_two_ranks_holds(
    tmp_path, strategy, precision, extra
):
    """Eight rows of 60 tokens through forward and backward, and a step of AdamW, on each of two ranks.

    With ``ddp`` each rank holds all and the gradients are summed; with ``fsdp`` all is in shards.
    """
    mixed, pure, sharded = precision == "bf16-mixed", precision == "bf16-master", strategy == "fsdp"
    low = torch.bfloat16 if mixed or pure else None
    prompt, completion = 20, 40

    def work(rank):
        policy = TinyModel(hidden_size=64, intermediate_size=256, layers=4, heads=4, max_length=256).load()
        if extra == "adapter":
            policy.model = add_adapter(policy.model, rank=4)
        sizes = model_sizes(policy.model)
        reference = Reference(policy, deferred=True) if extra == "reference" else None
        if sharded:
            whole = policy.model
            policy.model = shard(whole, mesh(), mixed=low, pure=pure)
            if reference is not None:
                reference.put_in_shards(whole, mesh(), low, pure=pure)
            del whole
        elif reference is not None:
            reference.keep(low)
        model, frozen = policy.model, None if reference is None else reference._model
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-4, foreach=False)
        ids, lengths = torch.full((8, completion), 7), torch.full((8,), completion)

        def logprobs(of):
            scored = lambda: completion_scores(of, build_prompts([prompt] * 2), ids, lengths, 4, share_prompts=False)  # noqa: E731
            return inside(of.model, scored).logprobs

        with MemoryHeld() as memory, torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            for weight in [*model.parameters(), *(frozen.parameters() if frozen is not None else ())]:
                local_part(weight).sum()  # those that are there all the time
            for _ in range(2):
                optimizer.zero_grad()
                if reference is not None:
                    with reference.active() as kept:
                        logprobs(kept)
                logprobs(policy).sum().backward()
                if not sharded:
                    Ranks(rank, 2).sum_gradients(trained)
                optimizer.step()
        batch = BatchSizes(
            micro_batch_tokens=8 * (prompt + completion),
            chunk_entries=chunk_entries(torch.device("cpu")),
            decoding=1,
            prompt_tokens=1,
            completion_tokens=1,
            group_size=1,
            reference=reference is not None,
            mixed=mixed,
            pure=pure,
            shards=2 if sharded else 1,
        )
        expected = footprint(sizes, batch)
        return (expected.held + expected.update) / memory.most

    for ratio in forked(work, tmp_path):
        assert ratio == pytest.approx(1, abs=0.25)
