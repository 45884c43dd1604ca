import json

import pytest
from transformers import T5Config

from gainrl.models.resolve import check_model_source
from tests.models.tiny_folders import save_tiny


@pytest.fixture
def folder(tmp_path):
    save_tiny(tmp_path / "model", "qwen2")
    return tmp_path / "model"


def test_a_whole_folder_gives_its_configuration(folder):
    assert check_model_source(str(folder)).model_type == "qwen2"


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "holds no config.json"),
        ("tokenizer.json", r"tokenizer\.save_pretrained"),
        ("model.safetensors", "holds no weights"),
    ],
)
def test_a_missing_file_is_named(folder, missing, message):
    (folder / missing).unlink()
    with pytest.raises(ValueError, match=message):
        check_model_source(str(folder))


def test_a_missing_shard_is_named(folder):
    (folder / "model.safetensors").rename(folder / "part-1.safetensors")
    index = {"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"lacks 1 of its 2 weight files \(part-2\.safetensors\)"):
        check_model_source(str(folder))


def test_a_hub_model_that_is_not_cached_says_how_to_get_it_offline(monkeypatch):
    monkeypatch.setattr("gainrl.models.resolve.is_offline_mode", lambda: True)
    with pytest.raises(ValueError, match=r"hf download nobody/no-model --local-dir models/no-model.*model\.source="):
        check_model_source("nobody/no-model")


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """``someone/model`` in the hub's cache, as a download leaves it; this process is offline."""
    snapshot = tmp_path / "hub" / "models--someone--model" / "snapshots" / ("a" * 40)
    save_tiny(snapshot, "qwen2")
    (tmp_path / "hub" / "models--someone--model" / "refs").mkdir()
    (tmp_path / "hub" / "models--someone--model" / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("gainrl.models.resolve.is_offline_mode", lambda: True)
    return snapshot


def test_a_hub_model_in_the_cache_is_used_offline(cached):
    assert check_model_source("someone/model").model_type == "qwen2"


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "config.json not found"),
        ("tokenizer.json", "its tokenizer"),
        ("model.safetensors", "its weights"),
    ],
)
def test_what_the_cache_lacks_is_named_with_what_to_download(cached, missing, message):
    (cached / missing).unlink()
    with pytest.raises(ValueError, match=rf"{message}.*hf download someone/model --local-dir models/model"):
        check_model_source("someone/model")


@pytest.mark.parametrize("source", ["./nowhere", "/nowhere/at/all", "a/b/c"])
def test_a_path_that_is_no_folder_is_not_taken_for_a_hub_id(source):
    with pytest.raises(ValueError, match="is no folder"):
        check_model_source(source)


def test_a_model_that_does_not_generate_from_left_to_right_is_refused(folder):
    T5Config().save_pretrained(folder)
    with pytest.raises(ValueError, match="'t5' model"):
        check_model_source(str(folder))


def test_a_configuration_that_cannot_be_read_is_refused(folder):
    (folder / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="cannot be read"):
        check_model_source(str(folder))


def test_a_missing_chat_template_file_is_named(folder):
    with pytest.raises(ValueError, match=r"model\.chat_template=nothing\.jinja is not a file"):
        check_model_source(str(folder), chat_template="nothing.jinja")
