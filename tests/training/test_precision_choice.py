import pytest
import torch

import gainrl.training.precision_choice as precision
from gainrl.training.precision_choice import choose_precision, has_bfloat16


def processor(monkeypatch, *, amx=False, avx512=False):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)


def seconds(monkeypatch, *, full, mixed):
    monkeypatch.setattr(precision, "_layer_seconds", lambda **given: mixed if given["mixed"] else full)


@pytest.mark.parametrize(("amx", "avx512"), [(True, False), (False, True)])
def test_bfloat16_is_taken_where_the_processor_has_it_and_is_faster(monkeypatch, amx, avx512):
    processor(monkeypatch, amx=amx, avx512=avx512)
    seconds(monkeypatch, full=0.020, mixed=0.010)
    choice = choose_precision(cuda=False)
    assert choice.precision == "bf16-mixed"
    assert str(choice) == "bf16-mixed (a layer's pass took 20.0 ms in float32, 10.0 ms in bfloat16)"


def test_a_difference_that_noise_could_make_leaves_float32(monkeypatch):
    processor(monkeypatch, amx=True)
    seconds(monkeypatch, full=0.0105, mixed=0.0100)
    assert choose_precision(cuda=False).precision == "32-true"


def test_without_hardware_nothing_is_measured(monkeypatch):
    processor(monkeypatch)
    monkeypatch.setattr(precision, "_layer_seconds", lambda **given: pytest.fail("measured"))
    choice = choose_precision(cuda=False)
    assert choice.precision == "32-true"
    assert "neither AMX nor AVX512-BF16" in choice.reason


@pytest.mark.parametrize("has", [True, False])
def test_a_gpu_is_asked_and_not_timed(monkeypatch, has):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has)
    assert choose_precision(cuda=True).precision == ("bf16-mixed" if has else "32-true")


def test_both_precisions_can_be_timed_and_a_torch_without_the_question_has_none(monkeypatch):
    for mixed in (False, True):
        assert precision._layer_seconds(mixed=mixed, seconds=0.0) > 0
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert has_bfloat16(cuda=False) is False
