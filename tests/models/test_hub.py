import sys

import pytest
import torch
from transformers import GenerationConfig, MambaConfig

from gainrl.datasets.templates import PromptTemplate
from gainrl.models.hub import HubModel, assert_deterministic, checkpointing_active
from tests.models.tiny_folders import ARCHITECTURES, hub, save_tiny
from tests.tokenizers_in_code import CHATML, byte_tokenizer

IDS = torch.arange(40).reshape(2, 20) * 5


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: save_tiny(tmp_path_factory.mktemp(name), name) for name in ARCHITECTURES}


def step(policy):
    """Two descent steps on the likelihood of some tokens, large enough to move any model."""
    weights = [weight for weight in policy.model.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=1.0)
    for _ in range(2):
        optimizer.zero_grad()
        policy.model(IDS, labels=IDS).loss.backward()
        optimizer.step()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_loads_in_train_mode_without_dropout(folders, architecture):
    policy = hub(source=folders[architecture])
    assert all(module.training for module in policy.model.modules())
    torch.testing.assert_close(policy.model(IDS).logits, policy.model(IDS).logits, rtol=0, atol=0)
    before = policy.model(IDS, labels=IDS).loss.item()
    step(policy)
    assert policy.model(IDS, labels=IDS).loss.item() < before


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_checkpointing_runs_each_layer_twice_and_changes_no_gradient(folders, architecture, rank):
    gradients, runs = [], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        policy = hub(source=folders[architecture], gradient_checkpointing=checkpointing, lora_rank=rank)
        assert checkpointing_active(policy.model) is checkpointing
        norms = [module for name, module in policy.model.named_modules() if name.endswith(("layernorm", ".ln_1"))]
        count = [0]
        norms[0].register_forward_hook(lambda *_, count=count: count.__setitem__(0, count[0] + 1))
        policy.model(IDS, labels=IDS).loss.backward()
        runs.append(count[0])
        gradients.append([w.grad for w in policy.model.parameters() if w.requires_grad])
    assert runs == [1, 2]
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(checkpointed, plain)


def test_a_model_left_in_eval_mode_is_reported_as_not_checkpointing(folders):
    policy = hub(source=folders["qwen2"], gradient_checkpointing=True)
    policy.model.eval()
    assert not checkpointing_active(policy.model)


def test_dropout_that_comes_back_is_refused(folders):
    model = hub(source=folders["gpt2"]).model
    model.transformer.drop.p = 0.1
    with pytest.raises(ValueError, match=r"transformer\.drop still has dropout"):
        assert_deterministic(model)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_model_without_its_adapter_is_the_reference_however_the_adapter_moved(folders, architecture):
    whole = hub(source=folders[architecture]).model(IDS).logits
    policy = hub(source=folders[architecture], lora_rank=2)
    torch.testing.assert_close(policy.model(IDS).logits, whole, rtol=0, atol=0)
    step(policy)
    with policy.model.disable_adapter(), torch.no_grad():
        torch.testing.assert_close(policy.model(IDS).logits, whole, rtol=0, atol=0)
    assert not torch.equal(policy.model(IDS).logits, whole)


def test_only_the_adapter_trains(folders):
    policy = hub(source=folders["llama"], lora_rank=2, lora_targets=["q_proj"])
    trained = [name for name, weight in policy.model.named_parameters() if weight.requires_grad]
    assert len(trained) == 2 * 2  # A and B in two layers
    assert all("q_proj.lora_" in name for name in trained)


def test_weights_have_the_type_asked_for(folders):
    assert hub(source=folders["qwen2"], dtype="bfloat16").model.dtype == torch.bfloat16
    assert hub(source=folders["qwen2"]).model.dtype == torch.float32


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_attention_asked_for_computes_the_same(folders, attention):
    model = hub(source=folders["llama"], attention=attention).model
    assert model.config._attn_implementation == attention
    torch.testing.assert_close(model(IDS).logits, hub(source=folders["llama"]).model(IDS).logits, rtol=1e-4, atol=1e-5)


def test_an_adapter_without_its_library_says_what_to_install(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ValueError, match=r"pip install 'gainrl\[lora\]'"):
        hub(source=folders["gpt2"], lora_rank=2)


def test_published_sampling_defaults_do_not_reach_the_policy(tmp_path):
    source = save_tiny(tmp_path, "qwen2")
    GenerationConfig(repetition_penalty=1.1, top_k=20, temperature=0.7, do_sample=True).save_pretrained(tmp_path)
    settings = hub(source=source).model.generation_config
    assert settings.repetition_penalty in (None, 1.0)
    assert settings.temperature in (None, 1.0)
    assert not settings.do_sample


def test_a_chat_template_from_a_file_replaces_that_of_the_model(tmp_path):
    source = save_tiny(tmp_path / "model", "gpt2", tokenizer=byte_tokenizer())
    (tmp_path / "chat.jinja").write_text(CHATML)
    policy = hub(source=source, chat_template=str(tmp_path / "chat.jinja"))
    prompt = PromptTemplate(system="Think.").bind(policy.tokenizer).encode("Why?")
    assert policy.tokenizer.decode(prompt.ids).startswith("<|im_start|>system\nThink.<|im_end|>")
    assert policy.tokenizer.convert_tokens_to_ids("<|im_end|>") in policy.stop_ids
    with pytest.raises(ValueError, match="has no chat template"):
        PromptTemplate().bind(hub(source=source).tokenizer)


def test_a_tokenizer_with_more_tokens_than_the_model_has_embeddings_is_refused(tmp_path):
    source = save_tiny(tmp_path, "gpt2")
    byte_tokenizer(CHATML, merges=(("a", "b"),)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="they do not belong together"):
        hub(source=source)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": "float8"}, "float32, bfloat16"),
        ({"attention": "flash_attention_2"}, "cannot be loaded with attention='flash_attention_2'"),
        ({"lora_rank": -1}, "at least 1"),
        ({"lora_rank": 2, "lora_targets": ["no_such_layer"]}, "do not fit this model"),
        ({"stop_tokens": ["no such token"]}, "no single token"),
    ],
)
def test_settings_that_cannot_be_are_refused(folders, arguments, message):
    with pytest.raises(ValueError, match=message):
        hub(source=folders["qwen2"], **arguments)


def test_a_model_that_would_lose_its_state_while_it_generates_is_refused(folders, tmp_path):
    """Mamba calls its cache by another name, and ignores the one that it is given."""
    MambaConfig(vocab_size=50, hidden_size=16, state_size=4, num_hidden_layers=2).save_pretrained(tmp_path)
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="a MambaForCausalLM does not take past_key_values"):
        HubModel(source=str(tmp_path)).check()
    assert HubModel(source=folders["llama"]).check().model_type == "llama"
