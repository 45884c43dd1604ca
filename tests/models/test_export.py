import pytest
import torch

from gainrl.models.export import export_policy
from tests.models.tiny_folders import ARCHITECTURES, hub, save_tiny

IDS = torch.arange(40).reshape(2, 20) * 5


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_exported_policy_loads_as_what_it_was(tmp_path, architecture, rank):
    policy = hub(source=save_tiny(tmp_path / "before", architecture), lora_rank=rank)
    start = policy.model(IDS).logits.detach()
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if weight.requires_grad and (rank == 0 or "lora_B" in name):
                weight += 0.05 * torch.randn_like(weight)
    trained = policy.model(IDS).logits.detach()
    export_policy(policy, tmp_path / "after")
    assert torch.equal(policy.model(IDS).logits, trained)
    again = hub(source=str(tmp_path / "after"))
    torch.testing.assert_close(again.model(IDS).logits, trained, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(trained, start, rtol=1e-3, atol=1e-3)
    assert (again.stop_ids, again.tokenizer.chat_template) == (policy.stop_ids, policy.tokenizer.chat_template)
