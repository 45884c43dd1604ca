"""Extraction by two real processes that talk through gloo."""

from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist

from gainrl.signals.angle import AngleSignal
from gainrl.signals.extraction import extract
from gainrl.signals.grad_norm import GradNormSignal
from gainrl.signals.hidden_norm import HiddenNormSignal
from gainrl.signals.residual import ResidualSignal
from tests.signals.conftest import ARCHITECTURES, build_policy, build_problems, build_prompts

SIGNALS = {
    "angle": AngleSignal(),
    "residual": ResidualSignal(base=AngleSignal()),
    "hidden_norm": HiddenNormSignal(),
    "grad_norm": GradNormSignal(),
}


def gather(value):
    found = [None, None]
    dist.all_gather_object(found, value)
    return found


def one_rank(rank, folder):
    """Measures three times: afresh, from the shared cache, and where only rank 0 keeps values."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    policy, problems, prompts = build_policy(ARCHITECTURES["qwen2"]()), build_problems(), build_prompts()
    measured = []

    def run(cache):
        reports = []
        found = extract(
            SIGNALS,
            problems,
            prompts,
            policy,
            cache_dir=cache,
            tokens_per_batch=20,
            progress=reports.append,
            rank=rank,
            world_size=2,
            gather=gather,
        )
        measured.append(max((report.prompts for report in reports), default=0))
        return found

    first, cached = run(f"{folder}/shared"), run(f"{folder}/shared")
    run(f"{folder}/rank{rank}")  # rank 0 writes what all have measured, so that rank 1 finds nothing of its own
    again = run(f"{folder}/rank{rank}")
    np.savez(
        f"{folder}/rank{rank}.npz",
        measured=measured,
        cached=[len(first.cached), len(cached.cached), len(again.cached)],
        **{
            f"{time}_{name}": v
            for time, found in (("first", first), ("cached", cached), ("again", again))
            for name, v in found.values.items()
        },
    )
    dist.destroy_process_group()


def test_two_processes_measure_a_share_each_and_both_have_all_values(tmp_path):
    torch.multiprocessing.spawn(one_rank, args=(str(tmp_path),), nprocs=2)
    expected = extract(SIGNALS, build_problems(), build_prompts(), build_policy(ARCHITECTURES["qwen2"]())).values
    shares = []
    for rank in range(2):
        with np.load(tmp_path / f"rank{rank}.npz") as stored:
            shares.append(stored["measured"].tolist())
            assert stored["cached"].tolist() == [0, len(SIGNALS), 0]
            for name, values in expected.items():
                for time in ("first", "cached", "again"):
                    np.testing.assert_allclose(stored[f"{time}_{name}"], values, atol=1e-5, err_msg=f"{time} {name}")
    # Nine prompts: five and four, and nothing where the cache had them. Where rank 1 lacks the values of rank 0, both
    # measure; rank 1 still has the parts that it wrote of its own share.
    assert shares == [[5, 0, 5, 5], [4, 0, 4, 0]]
