"""Warm starts whose result comes with the package, so that it is the same on every machine.

A warm start follows the last bits of its floats: skills appear suddenly, and the same recipe stops at another model on
another processor. For the recipes of `gainrl/models/weights/bases.json` the weights that one machine arrived at stand
there in bfloat16, and every machine starts from those. Anything that changes the recipe (its settings, the model, the
tokens of a problem) trains on the machine at hand. ``python -m benchmarks.bases`` writes the folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from gainrl import models
from gainrl.datasets.templates import BoundPrompts
from gainrl.files import whole_file
from gainrl.training.warm_start.supervised import WarmStart
from gainrl.types import Policy, ProblemSet

FOLDER = Path(models.__file__).parent / "weights"
_LIST = "bases.json"
_TOKENISED = 16  # a change of tokenizer shows in a part of the examples


@dataclass(frozen=True, kw_only=True, slots=True)
class ShippedBase:
    """One recipe and where its result is.

    ``model`` is what decided the initial weights, ``examples`` a hash of what was learnt from. ``levels`` is the greedy
    accuracy at each level of the training problems, for whoever reads the file.
    """

    name: str
    sha256: str
    warm_start: Mapping[str, Any]
    model: Mapping[str, Any]
    examples: str
    levels: Sequence[float]

    @property
    def file(self) -> str:
        return f"{self.name}.safetensors"

    def is_result_of(self, settings: WarmStart, model_identity: Mapping[str, Any]) -> bool:
        """Settings that are newer than the file count with their defaults."""
        return WarmStart(**self.warm_start) == settings and dict(self.model) == dict(model_identity)


def shipped_bases(folder: Path = FOLDER) -> list[ShippedBase]:
    return [ShippedBase(**entry) for entry in json.loads((folder / _LIST).read_text(encoding="utf-8"))]


def find_shipped(
    load: Callable[[], Policy],
    settings: WarmStart,
    model_identity: Mapping[str, Any],
    template: BoundPrompts,
    problems: ProblemSet,
    folder: Path = FOLDER,
) -> ShippedBase | None:
    r"""The base that this recipe gives, if the package has it; ``load``\ s the fresh model only if one may fit."""
    if not settings.shipped:
        return None
    fitting = [base for base in shipped_bases(folder) if base.is_result_of(settings, model_identity)]
    if not fitting:
        return None
    examples = examples_hash(load(), template, problems)
    return next((base for base in fitting if base.examples == examples), None)


def load_shipped(base: ShippedBase, policy: Policy, folder: Path = FOLDER) -> None:
    """Gives ``policy`` the weights of ``base``; raises ValueError where the file is not the one that was shipped."""
    path = folder / base.file
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
    if found != base.sha256:
        raise ValueError(
            f"{path} is damaged ({found}; it should be {base.sha256}): install gainrl again, or type "
            "model.warm_start.shipped=false to train these weights on this machine"
        )
    weights = dict(policy.model.named_parameters())
    stored = load_file(path)
    with torch.no_grad():
        for name, parameter in weights.items():
            parameter.copy_(stored[name])


def write_shipped(
    name: str,
    policy: Policy,
    settings: WarmStart,
    model_identity: Mapping[str, Any],
    template: BoundPrompts,
    problems: ProblemSet,
    levels: Sequence[float],
    folder: Path = FOLDER,
) -> ShippedBase:
    """Writes a base and its entry in the list, in place of one of the same name."""
    weights = {key: value.detach().to(torch.bfloat16) for key, value in policy.model.named_parameters()}
    with whole_file(folder / f"{name}.safetensors") as draft:
        save_file(weights, draft)
    base = ShippedBase(
        name=name,
        sha256=hashlib.sha256((folder / f"{name}.safetensors").read_bytes()).hexdigest(),
        warm_start=asdict(settings),
        model=dict(model_identity),
        examples=examples_hash(policy, template, problems),
        levels=list(levels),
    )
    others = [other for other in shipped_bases(folder) if other.name != name] if (folder / _LIST).exists() else []
    entries = sorted([*others, base], key=lambda entry: entry.name)
    with whole_file(folder / _LIST) as draft:
        draft.write_text(json.dumps([asdict(entry) for entry in entries], indent=1) + "\n", encoding="utf-8")
    return base


def examples_hash(policy: Policy, template: BoundPrompts, problems: ProblemSet) -> str:
    """Of the texts and levels of all examples, and of the token ids of every sixteenth."""
    rows = list(problems)
    texts = [[problem.question, problem.solution, problem.reference_answer, problem.level] for problem in rows]
    some = rows[::_TOKENISED]
    prompts = [list(prompt.ids) for prompt in template.encode_problems(some)]
    solutions = [policy.tokenizer.encode(problem.solution, add_special_tokens=False) for problem in some]
    text = json.dumps([texts, prompts, solutions, list(policy.stop_ids)])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
