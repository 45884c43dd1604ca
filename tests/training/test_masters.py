"""Training in bfloat16 through float32 weights behind it."""

import pytest
import torch

from gainrl.training.callbacks import Evaluation
from gainrl.training.masters import Masters
from gainrl.training.upkeep.state import collect_state, restore_state
from tests.architectures import build_policy
from tests.training.distributed.forked import forked
from tests.training.distributed.test_shards_of_two import as_policy, logprobs, mesh, scores, shard
from tests.training.rig import RecordingEngine, data_of, fit, module_of, tiny_policy


def test_steps_too_small_for_bfloat16_add_up_in_the_masters():
    """1 and its neighbour in bfloat16 are 2**-7 apart: 100 steps of 2**-13 move the master by 1.56 of that."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(model.weight)
    masters = Masters(model)
    optimizer = torch.optim.SGD(masters.parameters(), lr=2**-13)
    alone = torch.nn.Parameter(torch.ones(1, 1, dtype=torch.bfloat16))
    for _ in range(100):
        model(torch.ones(1, 1, dtype=torch.bfloat16)).sum().backward()
        masters.take_gradients()
        optimizer.step()
        optimizer.zero_grad()
        masters.round()
        with torch.no_grad():
            alone -= 2**-13
    (master,) = masters.parameters()
    assert master.item() == 1 - 100 * 2**-13
    assert model.weight.item() == pytest.approx(1 - 100 * 2**-13, abs=2**-8)
    assert alone.item() == 1


def test_gradients_of_several_backwards_are_summed_in_float32():
    model = torch.nn.Linear(1, 1, bias=False)
    masters = Masters(model)
    for value in (1.0, 2.0**-9):  # their sum is no number of bfloat16
        model(torch.full((1, 1), value, dtype=torch.bfloat16)).sum().backward()
        masters.take_gradients()
    (master,) = masters.parameters()
    assert master.grad.item() == 1 + 2.0**-9
    assert model.weight.grad is None


class Noting(RecordingEngine):
    def generate(self, policy, prompts, sampling, keys):
        self.kinds = {weight.dtype for weight in policy.model.parameters()}
        return super().generate(policy, prompts, sampling, keys)


def test_a_run_rolls_out_evaluates_and_learns_in_bfloat16_and_keeps_float32():
    engine, seen = Noting(), set()
    module = module_of(engine=engine, pure_bfloat16=True, objective={"beta": 0.04})
    module.model.model.layers[0].mlp.register_forward_hook(lambda m, i, o: seen.add(o.dtype))
    before = {name: value.clone() for name, value in module.model.state_dict().items()}
    trainer = fit(module, data_of(module, steps=2), [Evaluation(every=2, samples=0, max_new_tokens=4)])
    assert seen == engine.kinds == {torch.bfloat16}
    assert module.counters.updates == 2
    state = collect_state(trainer, module)
    weights = {name: value for name, value in state["weights"].items() if name.startswith("model.")}
    assert {value.dtype for value in weights.values()} == {torch.float32}
    assert any(not torch.equal(weights[f"model.{name}"], value) for name, value in before.items())
    # What is exported at the end are the weights that trained.
    assert all(torch.equal(weights[f"model.{name}"], value) for name, value in module.model.state_dict().items())


def test_a_checkpoint_holds_the_masters_and_another_run_goes_on_from_them():
    first = module_of(tiny_policy(), pure_bfloat16=True)
    trainer = fit(first, data_of(first, steps=1))
    state = collect_state(trainer, first)
    second = module_of(tiny_policy(seed=1), pure_bfloat16=True)
    restore_state(state, second, data_of(second, steps=1), [])
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in state["weights"].items())


def test_shards_are_the_masters_and_all_states_are_in_bfloat16(tmp_path):
    def work(rank):
        policy, seen = build_policy("llama"), []
        expected = logprobs(policy)
        model = shard(policy.model, mesh(), mixed=torch.bfloat16, pure=True)
        model.model.layers[0].mlp.register_forward_hook(lambda m, i, o: seen.append(o.dtype))
        found = scores(as_policy(model, policy))
        found.sum().backward()
        kinds = {weight.dtype for weight in model.parameters()} | {w.grad.dtype for w in model.parameters()}
        return str(seen[0]), [str(kind) for kind in kinds], float((found.detach() - expected).abs().mean())

    for state, kinds, difference in forked(work, tmp_path):
        assert state == "torch.bfloat16"
        assert kinds == ["torch.float32"]
        assert difference < 0.05
