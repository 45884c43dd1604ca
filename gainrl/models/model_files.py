"""Are the files of a model on this machine there? Asked without torch, so that a wrong path is refused at once."""

from __future__ import annotations

import json
from pathlib import Path

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
INDICES = tuple(f"{name}.index.json" for name in WEIGHTS)
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")


def check_model_files(source: str, chat_template: str | None = None) -> None:
    """Raises ValueError for a folder that is missing or incomplete, and for a chat template that is no file.

    A hub id, which is no path, is not looked at.
    """
    if chat_template is not None and not Path(chat_template).expanduser().is_file():
        raise ValueError(f"model.chat_template={chat_template} is not a file; give a file with a Jinja chat template")
    path = Path(source).expanduser()
    if path.is_dir():
        _check_folder(path)
    elif source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise ValueError(f"model.source={source} is no folder; give a folder that holds config.json, or a hub id")


def _check_folder(path: Path) -> None:
    if not (path / "config.json").is_file():
        raise ValueError(f"model.source={path} holds no config.json; give the folder that save_pretrained wrote")
    if not any((path / name).is_file() for name in TOKENIZERS):
        raise ValueError(
            f"model.source={path} holds no tokenizer ({' or '.join(TOKENIZERS)}); save it there with "
            f"tokenizer.save_pretrained('{path}')"
        )
    indices = [path / name for name in INDICES if (path / name).is_file()]
    if indices:
        needed = sorted(set(json.loads(indices[0].read_text())["weight_map"].values()))
        missing = [name for name in needed if not (path / name).is_file()]
        if missing:
            raise ValueError(
                f"model.source={path} lacks {len(missing)} of its {len(needed)} weight files "
                f"({', '.join(missing[:3])}); download it again"
            )
    elif not any((path / name).is_file() for name in WEIGHTS):
        raise ValueError(f"model.source={path} holds no weights ({' or '.join(WEIGHTS)}); download them into it")
