import copy
from functools import partial

import pytest
import torch

from gainrl.training.muon import MuonWithAdamW, hidden_matrices
from gainrl.training.schedules import Optimization, warmup_then_constant
from tests.training.rig import data_of, fit, module_of, tiny_policy, weights


def stepped(policy, optimizer, times=1, seed=0):
    for number in range(times):
        torch.manual_seed(seed + number)
        for weight in policy.model.parameters():
            weight.grad = torch.randn_like(weight)
        optimizer.step()


def made(policy, **settings):
    hidden = hidden_matrices(policy.model)
    return MuonWithAdamW(policy.model.parameters(), hidden=hidden, lr=0.01, **settings)


def test_matrices_inside_the_model_move_as_muon_moves_them_and_the_rest_as_adamw_does():
    policy, twin = tiny_policy(), tiny_policy()
    hidden = hidden_matrices(twin.model)
    names = {name for name, weight in twin.model.named_parameters() if id(weight) in hidden}
    assert names
    assert all("embed" not in name and "head" not in name and "norm" not in name for name in names)
    inner = [weight for weight in twin.model.parameters() if id(weight) in hidden]
    outer = [weight for weight in twin.model.parameters() if id(weight) not in hidden]
    muon = torch.optim.Muon(inner, lr=0.01, momentum=0.95, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(outer, lr=0.01, betas=(0.9, 0.95), weight_decay=0.0)
    optimizer = made(policy)
    for number in range(2):
        stepped(policy, optimizer, seed=number)
        torch.manual_seed(number)
        for weight in twin.model.parameters():
            weight.grad = torch.randn_like(weight)
        muon.step()
        adamw.step()
    for name, weight in policy.model.named_parameters():
        assert torch.equal(weight, dict(twin.model.named_parameters())[name]), name


def test_a_schedule_reaches_both_parts():
    optimization = Optimization(
        optimizer=partial(MuonWithAdamW, lr=0.01), schedule=partial(warmup_then_constant, warmup_updates=3)
    )
    policy = tiny_policy()
    optimizer, schedule = optimization.build(policy.model.parameters(), hidden_matrices(policy.model))
    assert [group["lr"] for part in optimizer._parts for group in part.param_groups] == [0.0025, 0.0025]
    optimizer.step()
    schedule.step()
    assert [group["lr"] for part in optimizer._parts for group in part.param_groups] == [0.005, 0.005]


def test_a_stored_state_goes_on_in_every_bit():
    policy, resumed = tiny_policy(), tiny_policy()
    optimizer = made(policy)
    stepped(policy, optimizer, times=2)
    resumed.model.load_state_dict(policy.model.state_dict())
    other = made(resumed)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    stepped(policy, optimizer, seed=9)
    stepped(resumed, other, seed=9)
    for name, value in policy.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert [group["lr"] for group in other.param_groups] == [0.01, 0.01]


@pytest.mark.parametrize("masters", [False, True])
def test_a_run_trains_the_same_matrices_with_it_also_where_they_have_float32_masters(masters):
    module = module_of(optimizer=partial(MuonWithAdamW, lr=0.01), pure_bfloat16=masters)
    before = weights(module)
    names = {id(weight): name for name, weight in module.model.named_parameters()}
    wanted = {names[one] for one in hidden_matrices(module.model)}
    fit(module, data_of(module, steps=2))
    assert module.counters.updates == 2
    assert any(not torch.equal(before[name], value) for name, value in weights(module).items())
    optimizer = module.optimizers().optimizer
    muon = next(part for part in optimizer._parts if isinstance(part, torch.optim.Muon))
    if module.masters is not None:
        names = {id(master): names[id(low)] for low, master in module.masters.pairs}
    assert {names[id(weight)] for group in muon.param_groups for weight in group["params"]} == wanted


def test_without_muon_in_torch_it_is_refused_before_a_model_is_loaded(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(ValueError, match=r"pip install 'torch>=2.9', or type optimizer=adamw"):
        Optimization(optimizer=partial(MuonWithAdamW, lr=0.01))
