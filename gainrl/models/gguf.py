"""Models in a single ``.gguf`` file, turned once into the folder that every other program reads.

Reading such a file takes the transformers library about a minute for 135 million parameters, most of it for the
vocabulary. The folder in the cache holds the same model with its weights in float32 (four bytes a parameter), whatever
they were quantized to in the file: it loads in a second, trains, and can be saved.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from gainrl.files import cache_dir
from gainrl.models.packaged import sha256, waiting

_FORMAT = 1  # raise it when the conversion changes, so that old folders are not served


def tell(text: str) -> None:
    """A line for whoever waits, on the error stream."""
    print(text, file=sys.stderr, flush=True)


def as_folder(file: Path, announce: Callable[[str], None] = tell) -> Path:
    """The folder with the model of a ``.gguf`` file; it appears whole or not at all.

    Raises ValueError where the file can't be read: the package ``gguf`` is missing, or transformers does not know the
    architecture.
    """
    mark = f"{sha256(file)[:16]}-{_FORMAT}-{version('transformers')}"
    folder = cache_dir() / "models" / f"{file.stem}-{mark}"
    if folder.is_dir():
        return folder
    if find_spec("gguf") is None:
        raise ValueError(f"{file} needs the package gguf: pip install 'gainrl[gguf]'")
    announce(f"reading {file.name}, once; a model of 135 million parameters takes about a minute")
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".draft-"))
    try:
        with waiting(f"reading {file.name}", announce):
            _convert(file, draft)
        os.replace(draft, folder)
    except OSError as fault:
        if not folder.is_dir():  # else another process was faster, and its folder is the same
            raise ValueError(f"model.source={file} cannot be read: {fault}") from fault
    except (ValueError, KeyError, NotImplementedError) as fault:
        raise ValueError(
            f"model.source={file} cannot be read by the transformers library: {fault}. Give a folder or a hub id of "
            "the same model instead"
        ) from fault
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _convert(file: Path, folder: Path) -> None:
    place, name = str(file.parent), file.name
    verbosity = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(place, gguf_file=name, dtype=torch.float32)
        tokenizer: Any = AutoTokenizer.from_pretrained(place, gguf_file=name)
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    config = loaded.config
    # What was loaded counts as quantized and refuses to be saved, so its weights move into a model that does not.
    del config.quantization_config
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(loaded.state_dict(), assign=True)
    model.tie_weights()
    model.generation_config = loaded.generation_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
