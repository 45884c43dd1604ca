"""Checks, before any weight is loaded, that a model exists and can be used; errors say what to type instead."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.constants import is_offline_mode
from transformers import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from gainrl.models.model_files import INDICES, TOKENIZERS, WEIGHTS, check_model_files


def check_model_source(source: str, *, revision: str | None = None, chat_template: str | None = None) -> Any:
    """The configuration of a causal language model whose files are all there, or can be fetched.

    ``source`` is a folder or a hub id, ``chat_template`` a file with a Jinja template. Raises ValueError that says
    which file is missing, what to download and where to put it.
    """
    check_model_files(source, chat_template)
    path = Path(source).expanduser()
    if not path.is_dir() and is_offline_mode():
        _check_cache(source, revision)
    try:
        config = AutoConfig.from_pretrained(str(path) if path.is_dir() else source, revision=revision)
    except Exception as fault:  # of any type, depending on the damage
        raise ValueError(
            f"model.source={source} cannot be read: {_first_line(fault)} {_how_to_get(source, revision)}"
        ) from fault
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ValueError(
            f"model.source={source} is a {config.model_type!r} model, which the transformers library has no causal "
            "language model for; use a model that generates text from left to right"
        )
    return config


def weights_mark(place: str, revision: str | None = None) -> str:
    """Text that changes with the weights and the configuration of a folder, or of a hub id in the cache.

    Of a folder it is a hash of the files, of a hub id its name and the commit in the cache.
    """
    path = Path(place)
    if not path.is_dir():
        found = try_to_load_from_cache(place, "config.json", revision=revision)
        return f"{place}@{Path(found).parent.name if isinstance(found, str) else revision}"
    digest = hashlib.blake2b(digest_size=8)
    for file in sorted([path / "config.json", *path.glob("*.safetensors"), *path.glob("*.bin")]):
        digest.update(file.name.encode())
        with open(file, "rb") as content:
            digest.update(hashlib.file_digest(content, "blake2b").digest())
    return digest.hexdigest()


def _check_cache(source: str, revision: str | None) -> None:
    def cached(names: Sequence[str]) -> list[str]:
        found = [try_to_load_from_cache(source, name, revision=revision) for name in names]
        return [path for path in found if isinstance(path, str)]

    missing = None
    if not cached(["config.json"]):
        missing = "config.json"
    elif not cached(TOKENIZERS):
        missing = "its tokenizer"
    elif indices := cached(INDICES):
        shards = sorted(set(json.loads(Path(indices[0]).read_text())["weight_map"].values()))
        absent = [name for name in shards if not cached([name])]
        missing = f"{len(absent)} of its {len(shards)} weight files" if absent else None
    elif not cached(WEIGHTS):
        missing = "its weights"
    if missing:
        raise ValueError(
            f"model.source={source} is neither a folder nor complete in the cache ({missing} not found), and this "
            f"process is offline (HF_HUB_OFFLINE). {_how_to_get(source, revision)}"
        )


def _how_to_get(source: str, revision: str | None) -> str:
    folder = f"models/{source.rstrip('/').rsplit('/', 1)[-1]}"
    return (
        f"Where there is a network: hf download {source} {f'--revision {revision} ' if revision else ''}--local-dir "
        f"{folder} (after `hf auth login` if the model asks "
        f"for a licence to be accepted); copy that folder here and give model.source={folder}"
    )


def _first_line(fault: Exception) -> str:
    return (str(fault).strip() or type(fault).__name__).splitlines()[0]
