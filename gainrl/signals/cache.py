"""Values of signals on disk, under keys that change with everything the values depend on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gainrl.files import whole_file
from gainrl.signals.protocol import Problems
from gainrl.types import PromptTokens

_DIGEST_BYTES = 16


def weights_hash(model: torch.nn.Module) -> str:
    """Of the names, shapes, dtypes and bytes of all weights and buffers, and of the model's configuration."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    config: Any = getattr(model, "config", None)
    if config is not None:
        settings = {name: value for name, value in config.to_dict().items() if name not in _BYSTANDERS}
        digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
        digest.update(f"{name} {tuple(whole.shape)} {whole.dtype}".encode())
        flat = whole.detach().reshape(-1).cpu().contiguous()
        if flat.numel():
            digest.update(memoryview(flat.view(torch.uint8).numpy()))
    return digest.hexdigest()


_BYSTANDERS = ("_name_or_path", "transformers_version", "_attn_implementation", "dtype", "torch_dtype")


def prompts_hash(prompts: Sequence[PromptTokens]) -> str:
    """Of all token ids and question spans, and so of template and tokenizer."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for prompt in prompts:
        digest.update(np.array([len(prompt.ids), *prompt.question, *prompt.ids], np.int64).tobytes())
    return digest.hexdigest()


def data_hash(problems: Problems) -> str:
    """The fingerprint of a problem set; of the texts where there is none."""
    known = getattr(problems, "fingerprint", None)
    if isinstance(known, str):
        return known
    rows = (problems[row] for row in range(len(problems)))
    return text_hash(json.dumps([problem.id, problem.question, problem.reference_answer]) for problem in rows)


def answers_hash(problems: Problems, tokenizer: Any) -> str:
    """Of the tokens of the reference answers, which prompt tokens do not show."""
    answers = (problems[row].reference_answer for row in range(len(problems)))
    return text_hash(str(list(tokenizer.encode(answer, add_special_tokens=False))) for answer in answers)


def text_hash(texts: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for text in texts:
        digest.update(f"{len(text)}:{text}".encode())
    return digest.hexdigest()


class ValueStore:
    """The values of one signal under one key: complete in ``KEY.npy``, or in parts while they are being measured.

    Files appear whole or not at all, so that an interruption at any time leaves nothing that misleads.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._file = folder / f"{key}.npy"
        self._parts = folder / f"{key}.parts"

    def load(self) -> np.ndarray | None:
        """``[N]`` values, None if they are not complete."""
        return np.load(self._file) if self._file.is_file() else None

    def load_parts(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """``[size]`` values measured so far, NaN elsewhere, and ``[size]`` bool, which of them are."""
        values, known = np.full(size, np.nan), np.zeros(size, bool)
        for part in sorted(self._parts.glob("*.npy")):
            rows, measured = np.load(part)
            values[rows.astype(np.int64)] = measured
            known[rows.astype(np.int64)] = True
        return values, known

    def add_part(self, rows: np.ndarray, values: np.ndarray) -> None:
        # The smallest row names the part: no two parts hold the same row, whatever process writes them.
        _save(self._parts / f"{int(rows.min())}.npy", np.stack([rows.astype(np.float64), values]))

    def complete(self, values: np.ndarray) -> None:
        _save(self._file, values)
        shutil.rmtree(self._parts, ignore_errors=True)


def _save(path: Path, array: np.ndarray) -> None:
    with whole_file(path, contested=True) as draft, open(draft, "wb") as file:
        np.save(file, array)
