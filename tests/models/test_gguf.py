import numpy as np
import pytest
import torch

from gainrl.models import gguf as module
from gainrl.models.export import export_policy
from gainrl.models.gguf import as_folder
from gainrl.models.hub import HubModel
from tests.models.gguf_files import write_gguf

IDS = torch.arange(3, 43).reshape(2, 20)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("GAINRL_CACHE", str(folder))
        yield folder / "models"


@pytest.fixture(scope="module")
def file(cache, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    return path, write_gguf(path)


def test_the_policy_has_the_weights_of_the_file_in_float32_and_its_stop_tokens(file):
    path, stored = file
    policy = HubModel(source=str(path)).load()
    assert policy.model.dtype == torch.float32
    assert policy.stop_ids == (2,)
    assert policy.pad_id != 2
    layer = policy.model.model.layers[1].mlp.down_proj.weight
    np.testing.assert_array_equal(layer.detach().numpy(), stored["blk.1.ffn_down.weight"])
    embeddings = policy.model.get_input_embeddings().weight
    np.testing.assert_array_equal(embeddings.detach().numpy(), stored["token_embd.weight"])
    assert embeddings is policy.model.get_output_embeddings().weight


def test_the_file_is_read_once(file, cache):
    said = []
    first = as_folder(file[0], said.append)
    assert as_folder(file[0], said.append) == first
    assert len(said) <= 1
    assert not list(cache.glob(".draft-*"))


def test_the_trained_policy_is_an_ordinary_folder(file, tmp_path):
    policy = HubModel(source=str(file[0])).load()
    policy.model(IDS, labels=IDS).loss.backward()
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight -= 0.1 * weight.grad
    export_policy(policy, tmp_path)
    again = HubModel(source=str(tmp_path)).load()
    torch.testing.assert_close(again.model(IDS).logits, policy.model(IDS).logits, rtol=0, atol=0)
    assert "quantization_config" not in (tmp_path / "config.json").read_text()
    text = "Is ab or cd? 12"
    assert again.tokenizer.encode(text) == policy.tokenizer.encode(text)
    assert again.tokenizer.chat_template == policy.tokenizer.chat_template


def test_text_survives_the_tokenizer_and_its_merges_are_used(file):
    tokenizer = HubModel(source=str(file[0])).tokenizer()
    assert tokenizer.decode(tokenizer.encode("ab, cd: 7\n")) == "ab, cd: 7\n"
    assert len(tokenizer.encode("ab")) == 1


def test_another_file_of_the_same_name_is_another_model(file, tmp_path):
    other = tmp_path / file[0].name
    write_gguf(other, seed=1)
    assert as_folder(other) != as_folder(file[0])
    assert HubModel(source=str(other)).identity() != HubModel(source=str(file[0])).identity()


def test_an_architecture_that_is_unknown_is_refused_with_its_name(cache, tmp_path):
    path = tmp_path / "odd.gguf"
    write_gguf(path, architecture="wonder")
    with pytest.raises(ValueError, match=r"odd\.gguf cannot be read by the transformers library.*wonder"):
        HubModel(source=str(path)).check()
    assert not list(cache.glob(".draft-*"))


def test_a_missing_file_and_a_missing_package_are_named(file, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"is not a file; give the path of a \.gguf file"):
        HubModel(source=str(tmp_path / "none.gguf")).check()
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    path = tmp_path / "new.gguf"
    write_gguf(path, seed=2)
    with pytest.raises(ValueError, match=r"needs the package gguf: pip install 'gainrl\[gguf\]'"):
        HubModel(source=str(path)).check()
