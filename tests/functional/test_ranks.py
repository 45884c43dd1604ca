"""Two processes with a share of the rows each reach the gradient of one process with all of them."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from gainrl.functional.aggregation import Normalizer
from gainrl.functional.objectives import Objective
from gainrl.functional.policy_loss import policy_objective

RANKS = 2


def rows():
    draw = torch.Generator().manual_seed(3)
    new = -torch.rand(6, 5, generator=draw) * 3
    old = new + 0.3 * torch.randn(6, 5, generator=draw)
    advantages = torch.tensor([1.0, -0.5, 0.25, -1.5, 2.0, 0.75])
    mask = torch.arange(5)[None, :] < torch.tensor([5, 1, 3, 2, 5, 4])[:, None]
    return new, old, advantages, mask


def gradient(chosen: slice, aggregation: str, normalizer: Normalizer, scale: torch.Tensor) -> torch.Tensor:
    """Gradient of the share of some rows in the step's loss, with respect to a factor on all log-probabilities."""
    new, old, advantages, mask = rows()
    loss = policy_objective(
        logprobs_BT=scale * new[chosen],
        old_logprobs_BT=old[chosen],
        advantages_BT_or_B=advantages[chosen],
        mask_BT=mask[chosen],
        settings=Objective(aggregation=aggregation),
        normalizer=normalizer,
    ).loss
    return torch.autograd.grad(loss, scale)[0]


def rank_main(rank: int, address: str, aggregation: str, found) -> None:
    dist.init_process_group("gloo", init_method=f"file://{address}", rank=rank, world_size=RANKS)
    mine = slice(rank * 2, rank * 2 + 2) if rank == 0 else slice(2, 6)  # shares of unequal size
    mask = rows()[3][mine]
    counts = torch.tensor([int(mask.any(dim=1).sum()), int(mask.sum())])
    dist.all_reduce(counts)
    grad = gradient(
        mine, aggregation, Normalizer(int(counts[0]), int(counts[1]), 5), torch.ones((), requires_grad=True)
    )
    grad = grad * RANKS  # undoes the average that data-parallel strategies take
    dist.all_reduce(grad)
    found[rank] = float(grad / RANKS)
    dist.destroy_process_group()


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean"])
def test_the_gradient_does_not_depend_on_the_number_of_ranks(aggregation, tmp_path):
    whole = gradient(slice(0, 6), aggregation, Normalizer.of_step(rows()[3], 5), torch.ones((), requires_grad=True))
    with mp.get_context("spawn").Manager() as manager:
        found = manager.dict()
        mp.start_processes(
            rank_main, args=(str(tmp_path / "meeting"), aggregation, found), nprocs=RANKS, start_method="spawn"
        )
        assert dict(found) == {0: pytest.approx(float(whole), rel=1e-6), 1: pytest.approx(float(whole), rel=1e-6)}
