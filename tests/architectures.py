"""Tiny random models of every supported architecture, with initial weights large enough to make decisions clear."""

from __future__ import annotations

import torch
from transformers import (
    CohereConfig,
    Gemma2Config,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    GraniteConfig,
    Lfm2Config,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    Qwen2Config,
    Qwen3Config,
)
from transformers.models.auto import AutoModelForCausalLM

from gainrl.types import Policy, PromptTokens

VOCABULARY = 23
_COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}
_GROUPED = _COMMON | {"num_key_value_heads": 2}
_CONFIGS = {
    "llama": lambda: LlamaConfig(**_GROUPED),
    "qwen2": lambda: Qwen2Config(**_GROUPED, tie_word_embeddings=True),
    "qwen3": lambda: Qwen3Config(**_GROUPED, head_dim=4),
    "gemma": lambda: GemmaConfig(**_GROUPED, head_dim=4),
    "gpt2": lambda: GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=16,
        n_layer=2,
        n_head=4,
        n_positions=128,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=None,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    ),
    "gpt_neox": lambda: GPTNeoXConfig(**_COMMON, hidden_dropout=0.0, attention_dropout=0.0),
    "cohere": lambda: CohereConfig(**_GROUPED, logit_scale=0.5),
    "granite": lambda: GraniteConfig(**_GROUPED, logits_scaling=2.0, embedding_multiplier=3.0, residual_multiplier=0.5),
    "gemma2": lambda: Gemma2Config(**_GROUPED, head_dim=4, sliding_window=6, query_pre_attn_scalar=4),
    "lfm2": lambda: Lfm2Config(**_GROUPED, layer_types=["conv", "full_attention"], conv_L_cache=3),
    "opt": lambda: OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        ffn_dim=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        word_embed_proj_dim=16,
        init_std=0.3,
        dropout=0.0,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    ),
    "mistral": lambda: MistralConfig(**_GROUPED, sliding_window=6),
}
SHARING = (
    "llama",
    "qwen2",
    "qwen3",
    "gemma",
    "gpt2",
    "gpt_neox",
    "cohere",
    "granite",
)  # the last two scale their logits
WINDOWED = ("gemma2", "mistral")
RECURRENT = ("lfm2",)


def build_policy(
    architecture: str, *, stop_ids: tuple[int, ...] = (3, 5), dtype: torch.dtype = torch.float32, seed: int = 0
) -> Policy:
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(_CONFIGS[architecture](), dtype=dtype)
    for parameter in model.parameters():
        if parameter.ndim == 1:  # norms and biases start at constants that hide mistakes
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return Policy(model=model, tokenizer=None, stop_ids=stop_ids, pad_id=0)


def build_prompts(lengths: list[int], *, prefix: int = 3, seed: int = 0) -> list[PromptTokens]:
    """Random prompts of the given lengths that share their first ``prefix`` tokens."""
    source = torch.Generator().manual_seed(seed)
    start = torch.randint(6, VOCABULARY, (prefix,), generator=source).tolist()
    prompts = []
    for length in lengths:
        rest = torch.randint(6, VOCABULARY, (length - prefix,), generator=source).tolist()
        prompts.append(PromptTokens(ids=(*start, *rest), segments={"question": (prefix, length)}))
    return prompts
