"""One GRPO step against TRL's, on the same model and lengths of prompts and completions.

    python -m benchmarks.grpo_step --peer-python .venv-oracle/bin/python                  prompts of about 50 tokens
    python -m benchmarks.grpo_step --peer-python ... --prompt-length 256
    python -m benchmarks.grpo_step --peer-python ... --beta 0.04 --inner-epochs 2
    python -m benchmarks.grpo_step --peer-python ... --half-constant      half of the groups lack a gradient
    python -m benchmarks.grpo_step --peer-python ... --shape smollm2      8 prompts of 64 tokens x 8 completions of 24

Both sides are whole training loops. They take their steps in turn, so that other work on the machine meets both. TRL
runs with all completions in one micro-batch and with eight; the faster counts.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from benchmarks.arithmetic import step_floor
from benchmarks.peer import Peer
from benchmarks.step import StepSettings, measured_memory, run_steps
from benchmarks.tables import print_goal, print_table
from benchmarks.workload import SHAPES

# What a step has unless something else is asked for, by the shape of its model.
SIZES = {
    "toy": {"prompts": 32, "prompt_length": 50, "completion_length": 64, "micro_batch_tokens": 4096},
    "smollm2": {"prompts": 8, "prompt_length": 64, "completion_length": 24, "micro_batch_tokens": 768},
}


LEAST_INFORMATIVE = 0.8  # of groups; a hundredth of them is constant by chance


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="the interpreter of an environment that holds TRL")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="toy")
    parser.add_argument("--prompts", type=int)
    parser.add_argument("--prompt-length", type=int)
    parser.add_argument("--group-size", type=int, default=8)
    parser.add_argument("--completion-length", type=int)
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    parser.add_argument("--beta", type=float, default=0.0)
    parser.add_argument("--inner-epochs", type=int, default=1)
    parser.add_argument("--half-constant", action="store_true")
    parser.add_argument("--micro-batch-tokens", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer-micro-batches", type=int, nargs="*", default=[1, 8])
    parser.add_argument("--goal-peer", type=float, help="wanted: TRL's wall time over gainrl's")
    parser.add_argument("--goal-floor", type=float, help="wanted: gainrl's wall time over the arithmetic floor")
    parser.add_argument("--goal-gib", type=float, help="wanted: GiB that a step holds at its peak")
    options = parser.parse_args(given)
    for name, value in SIZES[options.shape].items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    settings = StepSettings(
        shape=options.shape,
        vocabulary=SHAPES[options.shape]["vocabulary"],
        prompts=options.prompts,
        prompt_length=options.prompt_length,
        group_size=options.group_size,
        completion_length=options.completion_length,
        beta=options.beta,
        inner_epochs=options.inner_epochs,
        half_constant=options.half_constant,
        micro_batch_tokens=options.micro_batch_tokens,
    )
    parts = options.peer_micro_batches if options.peer_python else []
    peers = [
        Peer(
            options.peer_python,
            settings,
            steps=options.repeats,
            micro_batches=count,
            threads=options.threads,
            bf16=options.precision == "bf16-mixed",
        )
        for count in parts
    ]

    def between() -> None:
        for peer in peers:
            peer.step()

    times = run_steps(settings, options.repeats, between, options.threads, options.precision)
    for peer in peers:
        peer.close()
    completions = settings.prompts * settings.group_size
    wall, cpu = (statistics.median(getattr(each, kind) for each in times) for kind in ("wall", "cpu"))
    rows: list[list[str | float]] = [
        [f"gainrl: {name}", statistics.median(each.phases.get(name, 0.0) for each in times), "", "", ""]
        for name in times[-1].phases
    ]
    rows.append(["gainrl", wall, cpu, completions / wall, ""])
    for peer in peers:
        other = statistics.median(peer.wall), statistics.median(peer.cpu)
        label = f"TRL {peer.versions['trl']}, {peer.micro_batches} micro-batch{'es' if peer.micro_batches > 1 else ''}"
        ratios = f"{other[0] / wall:.2f} wall, {other[1] / cpu:.2f} processor"
        rows.append([label, *other, completions / other[0], ratios])
    print_table(["side", "wall s", "processor s", "completions/s", "times slower than gainrl"], rows)
    informative = statistics.mean(each.informative for each in times)
    print(f"Groups with a gradient: {informative:.0%}.\n")
    floor = step_floor(settings)
    print(
        f"Arithmetic floor of a step: {floor.operations / 1e9:.0f} GFLOP of matrix products at the "
        f"{floor.per_second / 1e9:.0f} GFLOP/s of a large one here: {floor.seconds:.2f} s.\n"
    )
    held, expected = in_own_process(partial(measured_memory, settings, options.precision, options.threads))
    print(f"Held at the peak of a step: {held / 2**30:.2f} GiB, {expected / 2**30:.2f} GiB expected.\n")
    if informative < LEAST_INFORMATIVE and not settings.half_constant:
        print(
            "gainrl leaves out groups without a gradient and TRL does not: not the same work, and no goal is judged.\n"
        )
        return
    print_goals(options, wall, [statistics.median(peer.wall) for peer in peers], floor.seconds, held)


def in_own_process(work: Callable[[], tuple[int, int]]) -> tuple[int, int]:
    """What ``work`` returns in a new process, which holds nothing of this one."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work).result()


def print_goals(options: argparse.Namespace, wall: float, peers: list[float], floor: float, held: int) -> None:
    what = f"{options.shape} step, prompts of {options.prompt_length}, {options.precision}"
    what += ", KL and two epochs" if options.beta else ", half constant" if options.half_constant else ""
    what += f", {options.threads} thread{'s' if options.threads > 1 else ''}"
    if options.goal_peer and peers:
        print_goal(what, options.goal_peer, min(peers) / wall, "times faster than TRL")
    if options.goal_floor:
        print_goal(what, options.goal_floor, wall / floor, "times the floor", at_most=True)
    if options.goal_gib:
        print_goal(what, options.goal_gib, held / 2**30, "GiB held", at_most=True)


if __name__ == "__main__":
    main()
