import pytest
import torch

from gainrl.signals.cache import weights_hash
from tests.models.tiny_folders import hub, save_tiny

pytest.importorskip("peft")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("llama"), "llama")


def test_an_adapter_begins_with_the_same_weights_in_every_process(folder):
    """A resumed run, and every rank of a run of several processes, loads the model anew."""
    found = []
    for state in (1, 2):  # of the global generator, which differs between processes
        torch.manual_seed(state)
        found.append(weights_hash(hub(source=folder, lora_rank=2).model))
    assert found[0] == found[1]
    assert weights_hash(hub(source=folder, lora_rank=2, lora_seed=1).model) != found[0]


def test_adding_an_adapter_leaves_the_global_generator_alone(folder):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    hub(source=folder, lora_rank=2)
    torch.testing.assert_close(torch.rand(2), expected, rtol=0, atol=0)
