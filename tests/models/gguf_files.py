"""A model in a ``.gguf`` file, small enough for a test, written with the package that llama.cpp's tools use."""

from pathlib import Path

import gguf
import numpy as np
from tokenizers import pre_tokenizers

from tests.tokenizers_in_code import CHATML

WIDTH, INNER, HEADS, LAYERS = 32, 64, 4, 2
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def write_gguf(path: Path, *, architecture: str = "llama", seed: int = 0) -> dict[str, np.ndarray]:
    """Writes the file; returns its weights as they are to be read, by their names there."""
    vocabulary = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges = ["a b", "c d"]
    vocabulary += [merge.replace(" ", "") for merge in merges]
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_name("tiny")
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(vocabulary) - len(SPECIAL)))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)
    draw = np.random.default_rng(seed)
    shapes = {"token_embd.weight": (len(vocabulary), WIDTH), "output_norm.weight": (WIDTH,)}
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes[f"{block}.{name}.weight"] = (WIDTH, WIDTH)
        shapes |= {f"{block}.{name}.weight": (INNER, WIDTH) for name in ("ffn_gate", "ffn_up")}
        shapes |= {f"{block}.ffn_down.weight": (WIDTH, INNER)}
        shapes |= {f"{block}.{name}.weight": (WIDTH,) for name in ("attn_norm", "ffn_norm")}
    stored = {}
    for name, shape in shapes.items():
        weight = (1.0 if len(shape) == 1 else 0.0) + draw.normal(0, 0.1, shape).astype(np.float32)
        weight = weight.astype(np.float32)
        if len(shape) == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            packed = gguf.quantize(weight, kind)
            writer.add_tensor(name, packed, raw_dtype=kind)
            stored[name] = gguf.dequantize(packed, kind)
        else:
            writer.add_tensor(name, weight)
            stored[name] = weight
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return stored
