"""A language model small enough to train on one CPU core: Llama or Qwen2 architecture, tokenizer built in code.

The tokenizer writes any ASCII text: single characters (digits among them, so that arithmetic happens digit by digit)
and a few longer pieces named by ``words``. Its chat template has a mark for each role and one end mark, which is also
the stop token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from gainrl.functional.streams import stream_key
from gainrl.types import Policy

_SPECIAL = ("<pad>", "<unk>", "<end>", "<system>", "<user>", "<assistant>")
_CHARACTERS = ["\n", *map(chr, range(32, 127))]
_CHAT_TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
_ARCHITECTURES = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}


def tiny_tokenizer(words: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """A tokenizer of single ASCII characters and the pieces in ``words``, longest match first; decoding is exact."""
    pieces = sorted({word for word in words if len(word) > 1}, key=lambda word: (-len(word), word))
    vocabulary = {token: index for index, token in enumerate([*_SPECIAL, *_CHARACTERS, *pieces])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    pattern = "|".join([*map(re.escape, pieces), r"[\s\S]"])
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    backend.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<end>",
        additional_special_tokens=["<system>", "<user>", "<assistant>"],
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = _CHAT_TEMPLATE
    return tokenizer


class TinyModel:
    """A freshly initialised model of 0.1 to 1 million parameters; a warm start makes it useful.

    ``words``: pieces of the vocabulary longer than a character. ``seed`` fixes the initial weights.
    ``warm_start``: settings of the supervised phase that follows (`training.warm_start`), or None to start from
    noise.
    Raises ValueError for an unknown architecture or a width that the heads do not divide.
    """

    def __init__(
        self,
        *,
        architecture: Literal["llama", "qwen2"] = "llama",
        hidden_size: int = 64,
        intermediate_size: int = 256,
        layers: int = 2,
        heads: int = 4,
        max_length: int = 256,
        words: Sequence[str] = (),
        seed: int = 0,
        warm_start: Any = None,
    ) -> None:
        if architecture not in _ARCHITECTURES:
            raise ValueError(f"model.architecture={architecture!r} is unknown; use one of {', '.join(_ARCHITECTURES)}")
        sizes = {"hidden_size": hidden_size, "intermediate_size": intermediate_size, "layers": layers, "heads": heads}
        for name, size in (sizes | {"max_length": max_length}).items():
            least = 2 if name == "max_length" else 1
            if size < least:
                raise ValueError(f"model.{name}={size} makes no model; type {least} or more")
        if hidden_size % heads or (hidden_size // heads) % 2:
            raise ValueError(
                f"model.hidden_size={hidden_size} over model.heads={heads} gives heads of width "
                f"{hidden_size / heads:g}, which must be a whole even number; type model.hidden_size={heads * 16}"
            )
        self.architecture = architecture
        self.sizes = {
            "hidden_size": hidden_size,
            "intermediate_size": intermediate_size,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": heads,
            "max_position_embeddings": max_length,
        }
        self.words = tuple(words)
        self.seed = seed
        self.warm_start = warm_start

    def check(self) -> None:
        """Nothing can be missing: everything is built in code."""

    def context_length(self) -> int | None:
        return self.sizes["max_position_embeddings"]

    def tokenizer(self) -> PreTrainedTokenizerFast:
        return tiny_tokenizer(self.words)

    def identity(self) -> dict[str, Any]:
        """What decides the initial weights, as plain values."""
        return {"architecture": self.architecture, **self.sizes, "words": list(self.words), "seed": self.seed}

    def skeleton(self) -> Any:
        """The model without memory for its weights (on the device ``meta``)."""
        with torch.device("meta"):
            return self._model(self.tokenizer()).train()

    def load(self, folder: str | Path | None = None) -> Policy:
        """The policy: freshly initialised, or with the weights of ``folder`` where one is given (its warm start)."""
        if folder is not None:
            return load_saved(str(folder))
        tokenizer = self.tokenizer()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_key(self.seed, "init") % 2**63)
            model = self._model(tokenizer)
        return Policy(model, tokenizer, stop_ids=(tokenizer.eos_token_id,), pad_id=tokenizer.pad_token_id)

    def _model(self, tokenizer: Any) -> Any:
        config_class, model_class = _ARCHITECTURES[self.architecture]
        config = config_class(
            vocab_size=len(tokenizer),
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            **self.sizes,
        )
        return model_class(config)


def load_saved(folder: str) -> Policy:
    """A tiny model that `save_pretrained` wrote, for example after its warm start."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return Policy(model, tokenizer, stop_ids=(tokenizer.eos_token_id,), pad_id=tokenizer.pad_token_id)
