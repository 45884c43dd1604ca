"""Settings of the process: those that torch needs before it starts threads, and the noise of libraries."""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_NARROWEST = 80  # columns that the tables need
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc


def prepare_process() -> None:
    """Call first in every entry point, before torch is imported.

    Waiting threads sleep: with the busy-wait that OpenMP prefers, two threads on a shared machine of two cores can be
    ten times slower than one. Freed tensors stay with the allocator: glibc otherwise returns every large one to the
    kernel and faults its pages in again a moment later. NVML answers whether there is a GPU, so the process can still
    be forked. Tokenizers start no threads of their own, which would only warn and stop when a reward forks its
    workers.
    """
    prepare_terminal()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    name = ctypes.util.find_library("c")
    libc = ctypes.CDLL(name) if name else None
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # type: ignore[union-attr]
        libc.mallopt(_M_TRIM_THRESHOLD, 512 << 20)  # type: ignore[union-attr]


def prepare_terminal() -> None:
    """Makes everything readable on any terminal.

    Tables are 80 wide where it is narrower, and characters that its encoding lacks (Σ in latin-1) are replaced.
    """
    columns = os.environ.get("COLUMNS", "")
    if columns and (not columns.isdigit() or int(columns) == 0):
        del os.environ["COLUMNS"]  # COLUMNS=0 would leave no room
    if shutil.get_terminal_size().columns < _NARROWEST:
        os.environ["COLUMNS"] = str(_NARROWEST)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


@contextmanager
def importing() -> Iterator[None]:
    """Around slow imports: pauses the garbage collector, and leaves what was imported out of its later rounds.

    Importing torch, Lightning and transformers makes a million objects and frees next to none, and the collector would
    look through all of them again and again: a fifth of the time.
    """
    pauses = gc.isenabled() and "torch" not in sys.modules
    if pauses:
        gc.disable()
    try:
        yield
    finally:
        if pauses:
            gc.freeze()
            gc.enable()


def quieten() -> None:
    """Silences warnings of Lightning and transformers about things that are intended."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    for message in (
        ".*treespec.*",
        ".*does not have many workers.*",
        ".*`IterableDataset` has `__len__`.*",
        r".*lr_scheduler\.step\(\).*before.*",  # the rate follows the steps, and one without a gradient has no update
    ):
        warnings.filterwarnings("ignore", message=message)
