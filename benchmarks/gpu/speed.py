"""Checks of speed and memory: a step beside TRL's, decoding, and compiled kernels."""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
from collections import Counter
from typing import Any

import torch

from benchmarks.gpu.check import Outcome, Setting, wait
from benchmarks.peer import Peer
from benchmarks.step import StepSettings, Stopwatch, build_run, fit_run
from benchmarks.workload import build_prompts, weights_of
from gainrl.functional.footprint import readable
from gainrl.functional.streams import stream_key
from gainrl.models.kernels import compile_decoder, patch_with_liger
from gainrl.models.scoring import decoder_of
from gainrl.rollouts.hf import HFEngine
from gainrl.training.upkeep.peak import PeakMemory, Plan, expected_footprint
from gainrl.types import Policy, SamplingParams

MIXED = "bf16-mixed"


def large_step(setting: Setting) -> StepSettings:
    """64 prompts x 8 completions of 256 tokens."""
    return _step_of(setting, prompts=(64, 2), prompt_length=(100, 6), completion_length=(256, 3))


def _step_of(setting: Setting, **sizes: tuple[int, int]) -> StepSettings:
    """Groups of 8; ``sizes``: of a step on a GPU, and in the smoke form."""
    return StepSettings(
        **{name: setting.size(*pair) for name, pair in sizes.items()},
        group_size=setting.size(8, 4),
        vocabulary=setting.vocabulary,
        micro_batch_tokens=setting.size(16_384, 4096),
    )


def step(setting: Setting) -> Outcome:
    """The second of two steps: seconds, utilisation and memory."""
    settings = large_step(setting)
    module, data = build_run(settings, setting.model(), 2)
    stopwatch, peak = Stopwatch(lambda: wait(setting.device)), PeakMemory(cuda=setting.cuda)
    expected = expected_footprint(module, settings.prompt_length, Plan(mixed=True, cuda=setting.cuda))
    peak.begin()
    fit_run(module, data, [stopwatch], accelerator=setting.accelerator, precision=MIXED)
    most = peak.most() - (0 if setting.cuda else peak.before)
    last = stopwatch.times[-1]
    setting.kept |= {"metrics": stopwatch.metrics[-1], "step": last.wall}
    tokens = settings.prompts * settings.group_size * settings.completion_length
    work = operations(settings, module.model)
    figures = {name: f"{seconds:.2f} s" for name, seconds in last.phases.items() if seconds > 0.005 * last.wall}
    figures |= {
        "step": f"{last.wall:.2f} s",
        "tokens/s": f"{tokens / last.wall:.0f}",
        "utilisation": f"{work / last.wall / product_speed(setting.device):.0%} of a large product",
        "peak": f"{readable(most)}, {readable(expected.peak)} expected",
    }
    return Outcome(figures, abs(most / expected.peak - 1) <= 0.25 if setting.cuda else None)


def operations(settings: StepSettings, model: Any) -> float:
    """Of the matrix products of one step, attention's left out; a multiply-add counts as two.

    Every completion token is sampled and learned from (four forwards in all), every prompt runs once for either.
    """
    body, head = weights_of(model)
    completions = settings.prompts * settings.group_size * settings.completion_length
    prompts = settings.prompts * settings.prompt_length
    return 2.0 * 4 * (body * (completions + prompts) + head * completions)


def product_speed(device: torch.device) -> float:
    """Operations per second of a large product in bfloat16."""
    size = 8192 if device.type == "cuda" else 256
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(7):
        wait(device)
        begun = time.perf_counter()
        left @ right
        wait(device)
        seconds.append(time.perf_counter() - begun)
    return 2 * size**3 / statistics.median(seconds[2:])


# The table of benchmarks 1 to 3 on this shape. Its steps are smaller than that of check 2, so that all fit.
KINDS: dict[str, dict[str, Any]] = {
    "short prompts": {},
    "256-token prompts": {"prompt_length": 256},
    "half of the groups constant": {"half_constant": True},
    "KL and two inner epochs": {"beta": 0.04, "inner_epochs": 2},
}


def beside_trl(setting: Setting) -> Outcome:
    """The step of check 2 by TRL, in a process of its own that waits its turn."""
    if setting.peer is None:
        return Outcome({"left out": "TRL is not installed; --peer-python names an environment that has it"})
    settings = large_step(setting)
    own, other, version = side_by_side(setting, [settings])[0]
    figures = {"gainrl": f"{own:.2f} s", f"TRL {version}": f"{other:.2f} s", "ratio": f"{other / own:.2f}"}
    return Outcome(figures, other >= 2 * own)


def table(setting: Setting) -> Outcome:
    """Steps of 16 prompts x 8 completions of 128 tokens, of four kinds, beside TRL's where it is installed."""
    kinds = [
        StepSettings(
            **{
                "prompts": setting.size(16, 2),
                "prompt_length": setting.size(50, 6),
                "group_size": setting.size(8, 4),
                "completion_length": setting.size(128, 3),
                "vocabulary": setting.vocabulary,
                "micro_batch_tokens": setting.size(16_384, 4096),
            }
            | changes
            | ({"prompt_length": 12} if setting.smoke and "prompt_length" in changes else {})
        )
        for changes in KINDS.values()
    ]
    lines, ratios = ["| work, 0.5B shape, bf16 | gainrl s | TRL s | ratio |", "|---|---:|---:|---:|"], []
    for name, (own, other, _) in zip(KINDS, side_by_side(setting, kinds), strict=True):
        ratio = "" if other is None else f"{other / own:.2f}"
        lines.append(f"| {name} | {own:.2f} | {'' if other is None else f'{other:.2f}'} | {ratio} |")
        ratios.append(ratio or f"{own:.2f} s alone")
    return Outcome(dict(zip(KINDS, ratios, strict=True)), None, lines)


def side_by_side(setting: Setting, kinds: list[StepSettings]) -> list[tuple[float, float | None, str]]:
    """Seconds of a step here and by TRL (None without it), and TRL's version; both sides warm up with one step."""
    peers: list[Peer | None] = [
        None
        if setting.peer is None
        else Peer(
            setting.peer,
            kind,
            steps=1,
            micro_batches=setting.size(8, 1),
            threads=torch.get_num_threads(),
            model=setting.model(),
            cuda=setting.cuda,
        )
        for kind in kinds
    ]
    found: list[tuple[float, float | None, str]] = []
    for kind, peer in zip(kinds, peers, strict=True):
        module, data = build_run(kind, setting.model(), 2)

        def between(peer: Peer | None = peer) -> None:
            if peer is not None:
                peer.step()
            wait(setting.device)

        stopwatch = Stopwatch(between)
        fit_run(module, data, [stopwatch], accelerator=setting.accelerator, precision=MIXED)
        own = stopwatch.times[-1].wall
        if peer is None:
            found.append((own, None, ""))
            continue
        peer.close()
        found.append((own, peer.wall[-1], peer.versions["trl"]))
    return found


def decoding(setting: Setting) -> Outcome:
    """Rollouts by ``hf`` at several numbers of rows: tokens a second, and what a token costs in launches and waits."""
    room = setting.size(64, 4)
    policy = Policy(setting.model().eval(), tokenizer=None, stop_ids=(), pad_id=0)
    lines = ["| rows | tokens/s | ms a token | kernels a token | waits a token |", "|---:|---:|---:|---:|---:|"]
    figures = {}
    for rows in (64, 256, 512) if not setting.smoke else (4, 8):
        prompts = build_prompts(rows // 4, 100 if not setting.smoke else 5)
        keys = torch.tensor([stream_key(0, "gpu check", row) for row in range(len(prompts))])
        engine, sampling = HFEngine(max_batch_size=rows), SamplingParams(group_size=4, max_new_tokens=room)

        def once(engine: HFEngine = engine, prompts: Any = prompts, sampling: Any = sampling, keys: Any = keys) -> None:
            with torch.autocast(setting.device.type, torch.bfloat16):
                engine.generate(policy, prompts, sampling, keys)
            wait(setting.device)

        once()
        begun = time.perf_counter()
        once()
        seconds = time.perf_counter() - begun
        with torch.profiler.profile() as profile:
            once()
        counted: Counter[str] = Counter()
        for event in profile.key_averages():
            counted[event.key] += event.count
        launches = sum(count for name, count in counted.items() if name.startswith(("cudaLaunch", "cuLaunch")))
        waits = sum(count for name, count in counted.items() if "Synchronize" in name)
        each = [f"{rows * room / seconds:.0f}", f"{1e3 * seconds / room:.1f}"]
        each += [f"{launches / room:.0f}", f"{waits / room:.2f}"] if setting.cuda else ["", ""]
        lines.append(f"| {rows} | " + " | ".join(each) + " |")
        figures[f"{rows} rows"] = f"{each[0]} tokens/s"
    return Outcome(figures, None, lines)


def kernels(setting: Setting) -> Outcome:
    """Seconds of an update of four layers: plain, compiled, and with liger-kernel.

    Prompts are longer than completions: only then does a GPU share them (`scoring.runs_in_full`), and only the forward
    that shares them is compiled.
    """
    import torch._dynamo

    settings = _step_of(setting, prompts=(16, 2), prompt_length=(256, 12), completion_length=(128, 3))
    figures = {}
    for name in ("plain", "compiled", "liger"):
        if name == "liger" and (not setting.cuda or importlib.util.find_spec("liger_kernel") is None):
            figures[name] = "left out: liger-kernel is not installed" if setting.cuda else "left out: needs a GPU"
            continue
        module, data = build_run(settings, setting.model(layers=setting.size(4, 1)), 3)
        torch._dynamo.utils.counters.clear()
        if name == "compiled":
            if setting.smoke:  # what is traced is the same, without a compiler
                module.policy.compiled_decoder = torch.compile(decoder_of(module.model), dynamic=True, backend="eager")
            else:
                compile_decoder(module.policy)
            module.trained.compiled_decoder = module.policy.compiled_decoder
        elif name == "liger":
            patch_with_liger(module.model)
        stopwatch = Stopwatch(lambda: wait(setting.device))
        fit_run(module, data, [stopwatch], accelerator=setting.accelerator, precision=MIXED)
        breaks = sum(torch._dynamo.utils.counters["graph_break"].values())
        figures[name] = f"update {stopwatch.times[-1].phases['update']:.2f} s" + (
            f", {breaks} graph breaks" if name == "compiled" else ""
        )
    return Outcome(figures)


def has_trl() -> str | None:
    """This interpreter where it has TRL."""
    return sys.executable if importlib.util.find_spec("trl") is not None else None
