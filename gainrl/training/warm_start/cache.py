"""The supervised phase that brings a model into the range where reinforcement learning has something to do.

A tiny model comes from noise, a pretrained one learns the form of the answers. The model learns to write the worked
solutions of the training problems, easy levels more often, and stops while the levels are graded: the lowest solved,
the next ones sometimes, the rest not yet. The result is cached under a fingerprint of all that decides it, so that
every arm and seed of a study starts from the same weights at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from gainrl.datasets.templates import BoundPrompts
from gainrl.models.export import export_policy
from gainrl.training.warm_start.shipped import find_shipped, load_shipped
from gainrl.training.warm_start.supervised import WarmStart, WarmStartProgress, train_supervised
from gainrl.types import Policy, ProblemSet

_FORMAT = 1  # raise it when the procedure changes, so that old caches are not served


def warm_start_fingerprint(
    settings: WarmStart, model_identity: dict[str, Any], template: BoundPrompts, problems: ProblemSet
) -> str:
    """Changes with everything that decides the warm-started weights, the version of torch included."""
    values = asdict(settings)
    del values["shipped"]  # whether the package is asked first does not change what this machine trains
    if values["micro_batch_tokens"] is None:  # an option that came later: what was cached before stays what it is
        del values["micro_batch_tokens"]
    parts = [
        _FORMAT,
        values,
        model_identity,
        template.fingerprint,
        problems.fingerprint,
        torch.__version__.split("+")[0],
    ]
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=8).hexdigest()


def warm_started(
    load: Callable[[], Policy],
    settings: WarmStart,
    model_identity: dict[str, Any],
    template: BoundPrompts,
    problems: ProblemSet,
    *,
    cache_dir: Path,
    announce: Callable[[], None] = lambda: None,
    progress: Callable[[WarmStartProgress], None] | None = None,
) -> Path:
    r"""The folder of the warm-started model; it appears whole or not at all. Adapters are merged into its weights.

    Unless the cache has it, ``load``\ s the model now and gives it the weights that the package ships for this recipe,
    or, after ``announce``, trains it. A call that was interrupted goes on from what it wrote last, about every minute.
    """
    base = find_shipped(load, settings, model_identity, template, problems)
    mark = warm_start_fingerprint(settings, model_identity, template, problems)
    folder = cache_dir / "warm_start" / (mark if base is None else f"{base.name}-{base.sha256[:16]}")
    if folder.exists():
        return folder
    state = folder.with_name(f".{folder.name}.state.pt")
    if base is None:
        announce()
        policy = load()
        train_supervised(policy, settings, template, problems, state=state, progress=progress)
    else:
        policy = load()
        load_shipped(base, policy)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".draft-"))
    export_policy(policy, draft)
    try:
        os.replace(draft, folder)
    except OSError:  # another process was faster and its result is the same
        shutil.rmtree(draft, ignore_errors=True)
        if not folder.exists():
            raise
    state.unlink(missing_ok=True)
    return folder
