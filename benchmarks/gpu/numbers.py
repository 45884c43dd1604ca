"""Checks of what is computed: the same numbers as on a CPU, the precision of each phase, and memory that runs out."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.gpu.check import Outcome, Setting, wait
from benchmarks.gpu.commands import SMALL, completions_of, start
from benchmarks.step import ParityReward, StepSettings, Stopwatch, build_run, fit_run
from benchmarks.workload import build_model, build_policy, build_prompts, prompt_text
from gainrl.datasets.arrow import ArrowProblems
from gainrl.models.scoring import completion_scores
from gainrl.rollouts import hf
from gainrl.signals.angle import AngleSignal
from gainrl.signals.extraction import extract
from gainrl.training import scorer
from gainrl.training.callbacks import Evaluation, SignalRefresh
from gainrl.training.evaluation import EvaluationSet
from gainrl.types import Policy, Problem, SignalScores

_GSM8K_QUESTIONS = 7473


def same_numbers(setting: Setting) -> Outcome:
    """Three steps of the default on both devices; log-probs and gradients of one batch on both."""
    steps = ["schedule.steps=3", "trainer.precision=32-true", *(SMALL if setting.smoke else _LITTLE_EVALUATION)]
    kinds = {"cpu": "cpu", "gpu": setting.accelerator}
    lives = [
        start(setting, f"default on {name}", [*steps, f"trainer.accelerator={kind}"]) for name, kind in kinds.items()
    ]
    codes = [life.end() for life in lives]
    texts = [completions_of(life.folder) for life in lives]
    equal = [f"{sum(a == b for a, b in zip(*pair, strict=True))}/{len(pair[0])}" for pair in zip(*texts, strict=True)]
    logprobs, gradients = _differences(setting.device)
    passed = codes == [0, 0] and max(logprobs, gradients) <= 1e-3 and texts[0][0] == texts[1][0]
    figures = {
        "log-probs": f"{logprobs:.1e}",
        "gradients": f"{gradients:.1e} of the largest",
        "equal completions by step": ", ".join(equal),
    }
    return Outcome(figures, passed)


_LITTLE_EVALUATION = ["evaluation.samples=0", "evaluation.limit=1"]


def _differences(device: torch.device) -> tuple[float, float]:
    """Largest differences to the CPU in float32: of log-probs, and of gradients, over the largest gradient."""
    model = build_model()
    prompts, lengths = build_prompts(4, 20, spread=8), torch.tensor([7, 3, 9, 9, 1, 4, 8, 2])
    ids = torch.randint(2, 320, (8, 9), generator=torch.Generator().manual_seed(0))
    found = []
    for place in (torch.device("cpu"), device):
        policy = build_policy(copy.deepcopy(model).to(place))
        logprobs = completion_scores(policy, prompts, ids, lengths, 2).logprobs
        assert logprobs is not None
        logprobs.sum().backward()
        gradients = torch.cat([weight.grad.flatten().cpu() for weight in policy.model.parameters()])
        found.append((logprobs.detach().cpu(), gradients))
    (one, first), (other, second) = found
    return float((one - other).abs().max()), float((first - second).abs().max() / first.abs().max())


def engine_against_training(setting: Setting) -> Outcome:
    """Log-probs of the rollout against those of the update, of check 2 where it has run."""
    metrics = setting.kept.get("metrics")
    if metrics is None:
        small = StepSettings(
            prompts=setting.size(16, 2), completion_length=setting.size(128, 4), vocabulary=setting.vocabulary
        )
        module, data = build_run(small, setting.model(), 1)
        stopwatch = Stopwatch(lambda: None)
        fit_run(module, data, [stopwatch], accelerator=setting.accelerator, precision="bf16-mixed")
        metrics = stopwatch.metrics[-1]
    mean, most = (metrics[f"rollout/logprob_difference_{name}"] for name in ("mean", "max"))
    return Outcome({"mean": f"{mean:.2e}", "max": f"{most:.2e}"}, mean <= 0.05)


def evaluation_and_signal(setting: Setting) -> Outcome:
    """The precision that evaluation and signal run in, and how long they take."""
    seen: dict[str, set[torch.dtype]] = {"signal": set(), "evaluation": set()}
    model, phase, seconds = setting.model(), ["evaluation"], {}
    model.model.layers[0].self_attn.q_proj.register_forward_hook(lambda m, i, o: seen[phase[0]].add(o.dtype))
    questions = build_prompts(setting.size(_GSM8K_QUESTIONS, 8), 165, spread=45, shared=100)
    problems = [Problem(str(row), prompt_text(prompt), "0") for row, prompt in enumerate(questions)]

    def measure(data: Any, module: Any, rows: Any) -> SignalScores:
        phase[0], begun = "signal", time.perf_counter()
        extract({"angle": AngleSignal()}, problems, questions, module.policy)
        wait(setting.device)
        seconds["signal"], phase[0] = time.perf_counter() - begun, "evaluation"
        return SignalScores("angle", np.zeros(len(data.problems)))

    sets = [EvaluationSet("some", _named(problems[: setting.size(256, 4)]), ParityReward(half_constant=False))]
    evaluation = Evaluation(
        every=10, samples=0, max_new_tokens=setting.size(128, 3), held_out=False, sets=sets, temperature=1.0
    )
    small = StepSettings(prompts=2, prompt_length=20, completion_length=4, vocabulary=setting.vocabulary)
    module, data = build_run(small, model, 1)
    refresh = SignalRefresh(measure=measure, folder=setting.folder / "signal")
    fit_run(module, data, [refresh, evaluation], accelerator=setting.accelerator, precision="bf16-mixed")
    per_evaluation = module.clock.seconds["evaluation"] / 2  # before the first step and after the last
    figures = {
        "precision": ", ".join(f"{name} {_short(kinds)}" for name, kinds in seen.items()),
        "signal": f"{len(questions) / seconds['signal']:.0f} prompts/s over {len(questions)}",
        "evaluation": f"{per_evaluation:.1f} s for {len(sets[0].problems)} problems",
    }
    return Outcome(figures, all(kinds == {torch.bfloat16} for kinds in seen.values()))


def _named(problems: list[Problem]) -> ArrowProblems:
    return ArrowProblems.from_problems(problems, name="random questions")


def _short(kinds: set[torch.dtype]) -> str:
    return " and ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds)) or "nothing"


def out_of_memory(setting: Setting) -> Outcome:
    """One step with as much memory as it likes and one with less, in the update and in the rollout."""
    figures, passed = {}, True
    for place, tokens, rows in (("update", 1 << 20, 16), ("rollout", 2048, 4096)):
        free, _ = _step(setting, tokens, rows, lambda: None)
        with _shortage(setting, place) as begin:
            short, warned = _step(setting, tokens, rows, begin)
        away = abs(short["policy_loss"] - free["policy_loss"])
        figures[place] = f"{warned} retr{'y' if warned == 1 else 'ies'}, loss {away:.1e} away"
        passed = passed and warned > 0 and away <= 1e-5
    return Outcome(figures, passed)


def _step(setting: Setting, tokens: int, rows: int, begin: Callable[[], None]) -> tuple[dict[str, float], int]:
    """Metrics of one step with micro-batches of ``tokens``, ``rows`` decoded at once; how often memory ran out."""
    work = StepSettings(prompts=setting.size(64, 4), completion_length=setting.size(128, 6), micro_batch_tokens=tokens)
    module, data = build_run(work, build_model(layers=setting.size(8, 1)), 1)
    module.engine.max_batch_size = rows  # type: ignore[attr-defined]
    stopwatch = Stopwatch(begin)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit_run(module, data, [stopwatch], accelerator=setting.accelerator)
    return stopwatch.metrics[0], sum("out of memory" in str(one.message) for one in caught)


@contextmanager
def _shortage(setting: Setting, place: str) -> Iterator[Callable[[], None]]:
    """Gives a call after which memory runs out: on a GPU because the process may have less of it, else by pretence."""
    if setting.cuda:
        most, total = torch.cuda.max_memory_reserved(), torch.cuda.get_device_properties(0).total_memory

        def limit() -> None:
            torch.cuda.empty_cache()
            held = torch.cuda.memory_reserved()
            torch.cuda.set_per_process_memory_fraction((held + 0.6 * (most - held)) / total)

        try:
            yield limit
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        return
    module, name = (scorer, "completion_scores") if place == "update" else (hf, "decode")
    original, left = getattr(module, name), [1]

    def exhausted(*given: Any, **named: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise torch.OutOfMemoryError("as if there were no memory")
        return original(*given, **named)

    with patch.object(module, name, exhausted):
        yield lambda: None


def head(setting: Setting) -> Outcome:
    """The output layer over a batch, forward and backward, in three precisions and several sizes of chunk."""
    from gainrl.functional.logprobs import chunked_logprobs

    device, rows = setting.device, setting.size(16_384, 32)
    width, vocabulary = setting.size(896, 32), setting.vocabulary
    source = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, width, generator=source).to(device)
    weight = (0.02 * torch.randn(vocabulary, width, generator=source)).to(device)
    ids = torch.randint(vocabulary, (rows,), generator=source).to(device)
    exact: torch.Tensor | None = None
    lines = [
        "| chunk, floats | tokens | precision | ms per 1,000 tokens | log-probs off by |",
        "|---:|---:|---|---:|---:|",
    ]
    best: dict[str, float] = {}
    for power, columns in ((25, 1 << 14), (27, 1 << 14), (27, 1 << 16)):
        columns = min(columns, vocabulary)
        for kind in ("float32", "TF32", "bfloat16"):
            dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32
            low, table = (each.detach().to(dtype).requires_grad_() for each in (hidden, weight))

            def both(low: Any = low, table: Any = table, chunk: Any = ((1 << power) // columns, columns)) -> Any:
                found = chunked_logprobs(low, table, ids, chunk=chunk)[0]
                found.sum().backward()
                return found.detach()

            torch.set_float32_matmul_precision("high" if kind == "TF32" else "highest")
            try:
                found, seconds = both(), _seconds(both, device)
            finally:
                torch.set_float32_matmul_precision("highest")
            exact = found if exact is None else exact
            each = 1e3 * seconds / (rows / 1000)
            best[kind] = min(each, best.get(kind, each))
            lines.append(
                f"| 2^{power} | {columns:,} | {kind} | {each:.2f} | {float((found - exact).abs().max()):.1e} |"
            )
    return Outcome({kind: f"{value:.2f} ms per 1,000 tokens" for kind, value in best.items()}, None, lines)


def _seconds(work: Callable[[], Any], device: torch.device) -> float:
    wait(device)
    begun = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - begun


def attention(setting: Setting) -> Outcome:
    """The training forward and backward of 8 rows, prompts copied behind a mask against plain rows, in bfloat16.

    And of two plain rows in float32, whose activations are twice as large.
    """
    long = (setting.size(1024, 12), setting.size(2048, 8))
    policy = Policy(setting.model(), tokenizer=None, stop_ids=(), pad_id=0)
    prompts = build_prompts(1, long[0])
    ids = torch.randint(2, 320, (8, long[1]), generator=torch.Generator().manual_seed(0))
    lengths = torch.full((8,), long[1])
    figures, kernels = {}, {}
    for name, shares, low, rows in (("shared", True, True, 8), ("plain", False, True, 8), ("float32", False, False, 2)):

        def both(shares: bool = shares, low: bool = low, rows: int = rows) -> None:
            with torch.autocast(setting.device.type, torch.bfloat16, enabled=low), _as_if_shared(shares):
                scored = completion_scores(policy, prompts, ids[:rows], lengths[:rows], rows, share_prompts=shares)
            assert scored.logprobs is not None
            scored.logprobs.sum().backward()
            policy.model.zero_grad()

        both()
        if setting.cuda:
            torch.cuda.reset_peak_memory_stats()
        seconds = _seconds(both, setting.device)
        peak = torch.cuda.max_memory_allocated() / 2**30 if setting.cuda else 0.0
        kernels[name] = _attention_kernels(both, setting)
        figures[name] = f"{1e3 * seconds:.0f} ms, {peak:.1f} GiB, {', '.join(sorted(kernels[name])) or 'no kernel'}"
    passed = "math" not in kernels["plain"] | kernels["float32"] if setting.cuda else None
    return Outcome(figures, passed)


@contextmanager
def _as_if_shared(shares: bool) -> Iterator[None]:
    """Shares prompts also where `scoring.runs_in_full` would not."""
    with patch("gainrl.models.scoring.runs_in_full", lambda *given: not shares):
        yield


def _attention_kernels(work: Callable[[], Any], setting: Setting) -> set[str]:
    """Which of PyTorch's attentions an operation called: flash, efficient, cudnn or math."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=kinds) as profile:
        work()
    names = {event.key for event in profile.key_averages() if "scaled_dot_product" in event.key}
    known = ("flash", "efficient", "cudnn", "math")
    return {kind for kind in known for name in names if kind in name}
