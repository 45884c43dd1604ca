import pytest
import torch

from gainrl.models.lora import add_adapter
from gainrl.training.scorer import Reference
from gainrl.types import Policy
from tests.training.rig import tiny_policy

IDS = torch.tensor([[7, 8, 9]])


def logits(policy):
    with torch.no_grad():
        return policy.model(input_ids=IDS).logits


def shake(policy):
    with torch.no_grad():
        for parameter in policy.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)


def test_the_reference_stays_where_the_policy_began():
    policy = tiny_policy()
    start, reference = logits(policy), Reference(policy)
    shake(policy)
    with reference.active() as frozen:
        assert torch.equal(logits(frozen), start)
        assert not torch.is_grad_enabled()
        assert not any(parameter.requires_grad for parameter in frozen.model.parameters())
    assert not torch.equal(logits(policy), start)


def test_the_reference_of_an_adapter_is_the_model_without_it():
    base = tiny_policy()
    start = logits(base)
    policy = Policy(add_adapter(base.model, rank=2, alpha=None, targets="all-linear"), base.tokenizer, (), 0)
    reference = Reference(policy)
    shake(policy)
    with reference.active() as frozen:
        assert torch.allclose(logits(frozen), start)
    assert not torch.allclose(logits(policy), start)
    assert reference.state_dict() == {}
    with pytest.raises(ValueError, match="reference_sync=null"):
        reference.sync(0.5)


def test_a_reference_is_restored_from_its_state():
    policy = tiny_policy()
    moved = Reference(policy)
    shake(policy)
    moved.sync(0.5)
    fresh = Reference(policy)
    fresh.load_state_dict(moved.state_dict())
    with fresh.active() as one, moved.active() as other:
        assert torch.equal(logits(one), logits(other))
