"""8-bit AdamW: refused with what to install; where the library is, steps near AdamW's and a state that resumes."""

import sys
from functools import partial

import pytest
import torch

from gainrl.training.adamw_8bit import adamw_8bit
from gainrl.training.schedules import Optimization


def test_without_the_library_it_is_refused_before_a_model_is_loaded(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ValueError, match=r"pip install 'gainrl\[bitsandbytes\]', or type optimizer=adamw"):
        Optimization(optimizer=partial(adamw_8bit, lr=1e-3))


def test_it_steps_like_adamw_and_goes_on_from_its_state_bit_for_bit():
    pytest.importorskip("bitsandbytes", reason="needs pip install 'gainrl[bitsandbytes]'")

    def weight():
        return torch.nn.Parameter(torch.linspace(-1, 1, 8192).reshape(64, 128).clone())

    def step(parameter, optimizer, number):
        parameter.grad = torch.cos(torch.arange(8192.0) * (number + 1)).reshape(64, 128)
        optimizer.step()

    eight, whole = weight(), weight()
    mine = adamw_8bit([eight], lr=1e-2)
    exact = torch.optim.AdamW([whole], lr=1e-2, betas=(0.9, 0.95), weight_decay=0.0)
    for number in range(3):
        step(eight, mine, number)
        step(whole, exact, number)
    assert mine.state[eight]["state1"].dtype is torch.uint8
    assert (eight - whole).abs().mean() < 0.1 * (whole - weight()).abs().mean()
    again = torch.nn.Parameter(eight.detach().clone())
    resumed = adamw_8bit([again], lr=1e-2)
    resumed.load_state_dict(mine.state_dict())
    step(eight, mine, 3)
    step(again, resumed, 3)
    assert torch.equal(eight, again)
