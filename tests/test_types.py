import copy

import pytest
import torch

from tests.architectures import build_policy


@pytest.mark.parametrize(
    "make",
    [
        lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        lambda parameters: torch.optim.AdamW(parameters, lr=0.1, foreach=False),
        lambda parameters: torch.optim.AdamW(parameters, lr=0.1, foreach=True),
        lambda parameters: torch.optim.AdamW(parameters, lr=0.1, fused=True),
    ],
    ids=["sgd", "adamw", "foreach", "fused"],  # the last writes past PyTorch's counters
)
def test_every_optimizer_step_raises_the_version_at_the_latest_with_touch(make):
    policy = build_policy("llama")
    optimizer = make(policy.model.parameters())
    seen = [policy.version]
    for _ in range(2):
        policy.model(torch.tensor([[1, 2, 3]])).logits.sum().backward()
        assert policy.version == seen[-1]
        optimizer.step()
        policy.touch()
        seen.append(policy.version)
    assert seen[0] < seen[1] < seen[2]


def test_loading_weights_raises_the_version():
    policy = build_policy("llama")
    before = policy.version
    policy.model.load_state_dict(copy.deepcopy(policy.model.state_dict()))
    assert policy.version > before
