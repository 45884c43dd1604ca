"""Measures signals over a data set: one pass for all that can share it, resumable, cached, on any number of ranks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gainrl.signals.cache import ValueStore, answers_hash, data_hash, prompts_hash, text_hash, weights_hash
from gainrl.signals.context import FittedPrompts, OverlongRule, answer_lengths, context_length, fit_prompts
from gainrl.signals.prefill import PrefillPass
from gainrl.signals.progress import Progress
from gainrl.signals.protocol import DerivedSignal, PrefillSignal, Problems, Signal, require_policy
from gainrl.types import Policy, Problem, PromptTokens, Reward, RolloutEngine

Gather = Callable[[np.ndarray], list[np.ndarray]]
"""Gives every rank the arrays of all ranks, in the order of the ranks."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """``values``: ``[N]`` float64 per signal. ``cached`` names the signals that were not measured anew.

    ``dropped`` (NaN in signals that read a model, hence ranked last) and ``truncated`` count prompts longer than the
    model's context; ``overlong_rows`` are theirs.
    """

    values: dict[str, np.ndarray]
    cached: tuple[str, ...] = ()
    dropped: int = 0
    truncated: int = 0
    overlong_rows: tuple[int, ...] = ()


def extract(
    signals: Mapping[str, Signal],
    problems: Problems,
    prompts: Sequence[PromptTokens],
    policy: Policy | None = None,
    *,
    engine: RolloutEngine | None = None,
    reward: Reward | None = None,
    cache_dir: str | Path | None = None,
    rollout_key: str | None = None,
    overlong: OverlongRule = "drop",
    tokens_per_batch: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    rank: int = 0,
    world_size: int = 1,
    gather: Gather | None = None,
    step: int = 0,
) -> Extraction:
    """All ``signals`` of all ``problems``; ``prompts[i]`` are the tokens of problem ``i``.

    Under ``cache_dir`` values are kept by signal settings, weights, prompt tokens, data and rule; signals that draw
    rollouts only with ``rollout_key``, the text of all settings of ``engine`` and ``reward``, and by ``step`` (see
    `Signal.compute`). An interrupted call made again continues. With ``world_size`` ranks each measures a share and
    ``gather`` brings them together.
    Raises ValueError if problems and prompts do not belong together, or ``gather`` is missing.
    """
    if len(problems) != len(prompts):
        raise ValueError(f"{len(problems)} problems but {len(prompts)} prompts; pass the tokens of every problem.")
    if world_size > 1 and gather is None:
        raise ValueError(f"world_size={world_size} needs gather, which brings the shares of the ranks together.")
    # Equal settings are measured once, and a derived signal needs no measurement of its own.
    bases = {base.fingerprint(): base for signal in signals.values() for base in _bases(signal)}
    free = {text: signal for text, signal in bases.items() if signal.cost == "none"}
    paid = {text: signal for text, signal in bases.items() if signal.cost != "none"}
    values = {text: signal.compute(problems, prompts) for text, signal in free.items()}
    fitted = FittedPrompts(prompts, np.zeros(len(prompts), bool), np.zeros(len(prompts), bool))
    cached: set[str] = set()
    if paid:
        policy = require_policy(next(iter(paid.values())).name, policy)
        reserve = answer_lengths(paid.values(), problems, policy.tokenizer)
        fitted = fit_prompts(prompts, context_length(policy.model), overlong, reserve)
        lengths = np.array([len(prompt) for prompt in fitted.prompts], np.int64)
        work = _Work(
            problems=problems,
            fitted=fitted,
            policy=policy,
            engine=engine,
            reward=reward,
            tokens_per_batch=tokens_per_batch,
            progress=progress,
            rank=rank,
            world_size=world_size,
            gather=gather,
            lengths=lengths,
            names={
                base.fingerprint(): name if base is signal else base.name
                for name, signal in list(signals.items())[::-1]
                for base in _bases(signal)
            },
            step=step,
        )
        stores = {} if cache_dir is None else _stores(Path(cache_dir), paid, work, rollout_key)
        kept = _kept_everywhere(stores, work)
        values |= kept
        cached.update(kept)
        missing = {text: signal for text, signal in paid.items() if text not in values}
        groups: list[dict[str, Signal]] = [
            {text: signal for text, signal in missing.items() if isinstance(signal, PrefillSignal)}
        ]
        groups += [{text: signal} for text, signal in missing.items() if text not in groups[0]]
        for group in filter(None, groups):
            values |= _measure(group, work, stores)
    results, served = {}, []
    for name, signal in signals.items():
        results[name] = _derive(signal, values, problems, prompts)
        measured = {base.fingerprint() for base in _bases(signal) if base.cost != "none"}
        if measured and measured <= cached:
            served.append(name)
    return Extraction(
        results,
        tuple(served),
        int(fitted.dropped.sum()),
        int(fitted.truncated.sum()),
        tuple(np.flatnonzero(fitted.dropped | fitted.truncated).tolist()),
    )


@dataclass(frozen=True, slots=True)
class _Work:
    problems: Problems
    fitted: FittedPrompts
    policy: Policy
    engine: RolloutEngine | None
    reward: Reward | None
    tokens_per_batch: int | None
    progress: Callable[[Progress], None] | None
    rank: int
    world_size: int
    gather: Gather | None
    lengths: np.ndarray  # [N] tokens of each prompt
    names: Mapping[str, str]  # of each measured signal, as the caller calls it
    step: int


@dataclass(frozen=True, slots=True)
class _Rows:
    """Some problems of a problem set, in a given order."""

    problems: Problems
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> Problem:
        return self.problems[int(self.rows[place])]


_COMPUTED_AT_ONCE = 64  # problems between two parts of a signal that does not share the prefill pass


def _measure(signals: Mapping[str, Signal], work: _Work, stores: Mapping[str, ValueStore]) -> dict[str, np.ndarray]:
    size = len(work.problems)
    values = {text: np.full(size, np.nan) for text in signals}
    known = {text: np.zeros(size, bool) for text in signals}
    for text in signals:
        if text in stores:
            values[text], known[text] = stores[text].load_parts(size)
    wanted = ~work.fitted.dropped & ~np.logical_and.reduce(list(known.values()))
    # Striding through the rows by length gives every rank the same share of long prompts.
    order = np.argsort(-work.lengths, kind="stable")[work.rank :: work.world_size]
    rows = order[wanted[order]]
    names = tuple(work.names[text] for text in signals)
    start, prompts_done, tokens_done = time.perf_counter(), 0, 0
    for done, measured in _batches(list(signals.values()), rows, work):
        for text, column in zip(signals, measured, strict=True):
            fresh = ~known[text][done]
            values[text][done] = column
            known[text][done] = True
            if text in stores and fresh.any():
                stores[text].add_part(done[fresh], column[fresh])
        prompts_done += len(done)
        tokens_done += int(work.lengths[done].sum())
        if work.progress is not None:
            seconds = time.perf_counter() - start
            all_tokens = int(work.lengths[rows].sum())
            work.progress(Progress(names, prompts_done, len(rows), tokens_done, all_tokens, seconds))
    for text in signals:
        if work.gather is not None and work.world_size > 1:
            for share, share_known in work.gather(np.stack([values[text], known[text].astype(np.float64)])):
                values[text] = np.where(share_known > 0, share, values[text])
        if text in stores and work.rank == 0:
            stores[text].complete(values[text])
    if stores and work.gather is not None and work.world_size > 1:
        work.gather(np.zeros(1))  # no rank looks for the values before they are written
    return values


def _batches(signals: list[Signal], rows: np.ndarray, work: _Work) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and ``[len(signals), rows]`` values, batch by batch."""
    if not len(rows):
        return
    problems, prompts = _Rows(work.problems, rows), [work.fitted.prompts[row] for row in rows]
    shared = [signal for signal in signals if isinstance(signal, PrefillSignal)]
    if shared:
        pass_ = PrefillPass(shared, problems, prompts, work.policy, tokens_per_batch=work.tokens_per_batch)  # type: ignore[arg-type]
        for places in pass_.batches:
            yield rows[places], pass_.measure(places)
        empty = np.flatnonzero(pass_.tail_lengths <= 0)
        if len(empty):
            yield rows[empty], np.full((len(signals), len(empty)), np.nan)
        return
    for start in range(0, len(rows), _COMPUTED_AT_ONCE):
        part = slice(start, start + _COMPUTED_AT_ONCE)
        chosen = [problems[place] for place in range(len(rows))[part]]
        columns = [
            signal.compute(
                chosen,
                prompts[part],
                work.policy,
                engine=work.engine,
                reward=work.reward,
                rows=rows[part],
                step=work.step,
            )
            for signal in signals
        ]
        yield rows[part], np.stack(columns)


def _stores(folder: Path, signals: Mapping[str, Signal], work: _Work, rollout_key: str | None) -> dict[str, ValueStore]:
    common = [weights_hash(work.policy.model), prompts_hash(work.fitted.prompts), data_hash(work.problems)]
    common.append(text_hash(map(str, np.flatnonzero(work.fitted.dropped))))
    device = work.policy.device.type
    if torch.is_autocast_enabled(device):
        common.append(str(torch.get_autocast_dtype(device)))
    stores = {}
    for text, signal in signals.items():
        parts = [text, *common]
        if not isinstance(signal, PrefillSignal) or signal.answer_template is not None:
            parts.append(answers_hash(work.problems, work.policy.tokenizer))
        if signal.cost == "rollouts":
            if rollout_key is None:
                continue
            parts += [rollout_key, str(work.step)]
        stores[text] = ValueStore(folder, f"{signal.name}-{text_hash(parts)}")
    return stores


def _kept_everywhere(stores: Mapping[str, ValueStore], work: _Work) -> dict[str, np.ndarray]:
    """The values that every rank finds complete: ranks that measure would wait for those that do not."""
    found = {text: values for text, store in stores.items() if (values := store.load()) is not None}
    if work.gather is None or work.world_size == 1:
        return found
    flags = work.gather(np.array([text in found for text in stores]))
    everywhere = np.logical_and.reduce(flags)
    return {text: found[text] for text, every in zip(stores, everywhere, strict=True) if every}


def _bases(signal: Signal) -> list[Signal]:
    """The signals that have to be measured for one: itself, or those that it derives from."""
    if not isinstance(signal, DerivedSignal):
        return [signal]
    return [measured for base in signal.bases for measured in _bases(base)]


def _derive(
    signal: Signal, values: Mapping[str, np.ndarray], problems: Problems, prompts: Sequence[PromptTokens]
) -> np.ndarray:
    """The values of a signal, from those of the measured signals by their fingerprints."""
    if not isinstance(signal, DerivedSignal):
        return values[signal.fingerprint()]
    return signal.derive([_derive(base, values, problems, prompts) for base in signal.bases], problems, prompts)
