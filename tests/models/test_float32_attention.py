"""Grouped heads in float32 on a (pretended) GPU."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

import gainrl.models.scoring  # noqa: F401  the training forward brings the function along
from tests.pretend_gpu import OnGPU, pretending

LAYER = SimpleNamespace(is_causal=True, num_key_value_groups=3)


@pytest.mark.parametrize(
    ("on_gpu", "dtype", "heads"), [(True, torch.float32, 6), (True, torch.bfloat16, 2), (False, torch.float32, 2)]
)
def test_keys_are_repeated_where_the_kernel_knows_no_groups(on_gpu, dtype, heads, monkeypatch):
    seen = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def noted(query, key, value, **named):
        seen.append((key.shape[1], value.shape[1], named.get("attn_mask"), named.get("is_causal")))
        return attend(query, key, value, **named)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", noted)
    source = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, heads, 5, 8, generator=source).to(dtype) for heads in (6, 2, 2))
    with pretending(monkeypatch) if on_gpu else nullcontext():
        given = [OnGPU(part) if on_gpu else part for part in (query, key, value)]
        found, _ = ALL_ATTENTION_FUNCTIONS["sdpa"](LAYER, *given, None)
    assert seen == [(heads, heads, None, True)]
    expected = attend(query, key, value, is_causal=True, enable_gqa=True).transpose(1, 2)
    tolerance = 1e-5 if dtype == torch.float32 else 0.02
    torch.testing.assert_close(found.host if on_gpu else found, expected, rtol=tolerance, atol=tolerance)
