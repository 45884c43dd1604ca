"""Models of every architecture we care for, small enough for a test, saved as the folders that a hub would hold."""

from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    Qwen2Config,
    Qwen3Config,
)

from gainrl.models.hub import HubModel
from gainrl.types import Policy
from tests.tokenizers_in_code import CHATML, LLAMA3, byte_tokenizer

_SIZE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
_GROUPED = _SIZE | {"num_key_value_heads": 2, "attention_dropout": 0.1}
CONFIGS = {
    "llama": lambda **k: LlamaConfig(**_GROUPED, **k),
    "qwen2": lambda **k: Qwen2Config(**_GROUPED, tie_word_embeddings=True, **k),
    "qwen3": lambda **k: Qwen3Config(**_GROUPED, head_dim=8, **k),
    "gemma": lambda **k: GemmaConfig(**_GROUPED, head_dim=8, **k),
    "gemma2": lambda **k: Gemma2Config(**_GROUPED, head_dim=8, **k),
    "gpt2": lambda **k: GPT2Config(n_embd=32, n_layer=2, n_head=4, **k),
    "gpt_neox": lambda **k: GPTNeoXConfig(**_SIZE, attention_dropout=0.1, hidden_dropout=0.1, **k),
}
ARCHITECTURES = list(CONFIGS)


def save_tiny(folder: Path, architecture: str, *, tokenizer=None, **settings) -> str:
    """A folder with random weights, a byte tokenizer, and dropout switched on as some published models have it."""
    tokenizer = tokenizer or byte_tokenizer(LLAMA3 if architecture == "llama" else CHATML)
    config = CONFIGS[architecture](vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, **settings)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def hub(**settings) -> Policy:
    """The policy of a `HubModel` with these settings."""
    return HubModel(**settings).load()
