"""The model, prompts and rewards that both sides of a comparison get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from gainrl.types import Policy, PromptTokens

VOCABULARY = 320
SHAPES: dict[str, dict[str, Any]] = {
    "toy": {"vocabulary": VOCABULARY},
    "smollm2": {
        "layers": 30,
        "width": 576,
        "inner_width": 1536,
        "heads": 9,
        "key_heads": 3,
        "vocabulary": 49152,
        "tied": True,
    },
}


def build_model(
    *,
    layers: int = 4,
    width: int = 128,
    inner_width: int = 384,
    heads: int = 4,
    key_heads: int | None = None,
    vocabulary: int = VOCABULARY,
    tied: bool = False,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> LlamaForCausalLM:
    """A random Llama-architecture model; ``key_heads``: of keys and values, as many as ``heads`` unless given."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=inner_width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads or heads,
        max_position_embeddings=2048,
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).to(dtype)


def weights_of(model: LlamaForCausalLM) -> tuple[int, int]:
    """Weights in the matrices of the decoder, and in the head, which may be tied to the embeddings."""
    head, embeddings = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    ends = {id(head), id(embeddings)}
    decoder = sum(weight.numel() for weight in model.parameters() if weight.ndim == 2 and id(weight) not in ends)
    return decoder, head.numel()


def build_tokenizer(vocabulary: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """One token per word: ``w2`` is token 2; ``<pad>`` is 0 and ``<eos>`` 1."""
    words = {"<pad>": 0, "<eos>": 1} | {f"w{index}": index for index in range(2, vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")


def build_prompts(count: int, length: int, *, spread: int = 0, shared: int = 0, seed: int = 0) -> list[PromptTokens]:
    """``count`` random prompts of ``length - spread .. length + spread`` tokens whose first ``shared`` agree."""
    source = torch.Generator().manual_seed(seed)

    def draw(size: int) -> list[int]:
        return torch.randint(2, VOCABULARY, (size,), generator=source).tolist()

    start = draw(shared)
    prompts = []
    for _ in range(count):
        size = length + int(torch.randint(-spread, spread + 1, (1,), generator=source))
        prompts.append(PromptTokens(ids=(*start, *draw(size - shared)), segments={"question": (shared, size)}))
    return prompts


def build_policy(model: LlamaForCausalLM, *, stop_ids: tuple[int, ...] = ()) -> Policy:
    return Policy(model=model, tokenizer=None, stop_ids=stop_ids, pad_id=0)


def prompt_text(prompt: PromptTokens) -> str:
    """Text that `build_tokenizer` maps back to the same ids."""
    return " ".join(f"w{token}" for token in prompt.ids)


def save_for_peer(folder: Path, model: LlamaForCausalLM, steps: list[list[PromptTokens]], vocabulary: int) -> None:
    """Writes the model folder and the prompts of every step as text."""
    model.save_pretrained(folder / "model")
    build_tokenizer(vocabulary).save_pretrained(folder / "model")
    (folder / "prompts.json").write_text(json.dumps([prompt_text(prompt) for step in steps for prompt in step]))


def parity_reward(completion: str) -> float:
    """1 where a completion holds at least as many even as odd tokens, else 0; special tokens are none."""
    odd = [int(word[1:]) % 2 for word in completion.split()]
    return float(2 * sum(odd) <= len(odd))
