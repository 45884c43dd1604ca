"""Checkpoints that two ranks write in shards: who holds what, who can read them, and what happens to their folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.distributed.tensor import DTensor

from gainrl.training.distributed.ranks import Ranks, local_part
from gainrl.training.distributed.sharding import shard
from gainrl.training.upkeep.checkpoints import (
    CheckpointStore,
    UnreadableCheckpoint,
    peek_checkpoint,
    read_checkpoint,
    shards_of,
)
from gainrl.training.upkeep.shards import filled, is_mark, write_shards
from tests.architectures import build_policy
from tests.training.distributed.forked import forked
from tests.training.distributed.test_shards_of_two import as_policy, mesh, scores


def trained_in_shards(architecture="qwen2"):
    """A model in shards (whose head is tied to its embeddings) after a step of AdamW, and the optimizer."""
    policy = build_policy(architecture)
    model = shard(policy.model, mesh())
    scores(as_policy(model, policy)).sum().backward()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, foreach=False)
    optimizer.step()
    return model, optimizer


def save(store, model, optimizer, rank, step=3, **more):
    state = {"weights": model.state_dict(), "optimizers": [optimizer.state_dict()], "counters": {"step": step}}
    marked = write_shards(state, store.folder, step, Ranks(rank, 2))
    if rank == 0:
        store.save(marked, step, **more)


def whole(state):
    return filled(state["weights"], shards_of(state), lambda keys, mark: None)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with a checkpoint of two ranks, and what they had: weights and optimizer states, whole."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def work(rank):
        model, optimizer = trained_in_shards()
        save(CheckpointStore(folder), model, optimizer, rank)
        weights = {name: value.full_tensor().tolist() for name, value in model.state_dict().items()}
        moments = [state["exp_avg"].full_tensor().tolist() for state in optimizer.state.values()]
        return (weights, moments) if rank == 0 else None

    weights, moments = forked(work, folder)[0]
    return folder, weights, moments


def test_each_rank_writes_a_file_of_its_own_and_the_checkpoint_holds_no_tensor(written):
    folder, weights, _ = written
    (place,) = folder.glob("*.shards")
    assert sorted(path.name for path in place.iterdir()) == [".metadata", "__0_0.distcp", "__1_0.distcp"]
    state = peek_checkpoint(folder / "step-000003.ckpt")
    assert all(is_mark(value) for value in state["weights"].values())
    sizes = [(place / f"__{rank}_0.distcp").stat().st_size for rank in (0, 1)]
    assert max(sizes) < 1.3 * min(sizes)
    assert weights.keys() == state["weights"].keys()


def test_one_process_reads_what_two_have_written(written):
    folder, weights, moments = written
    state = read_checkpoint(folder / "step-000003.ckpt")
    found = whole(state)
    assert {name: value.tolist() for name, value in found.items()} == weights
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.tensor(w)) for w in _without_tied(weights)], lr=1.0)
    held = filled(state["optimizers"][0], shards_of(state), lambda keys, mark: None)
    optimizer.load_state_dict(held)
    assert [one["exp_avg"].tolist() for one in optimizer.state.values()] == moments


def _without_tied(weights):
    return [value for name, value in weights.items() if name != "lm_head.weight"]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_any_number_of_ranks_reads_its_own_shards(written, tmp_path, size):
    folder, weights, _ = written

    def work(rank):
        from torch.distributed.device_mesh import init_device_mesh

        model = shard(build_policy("qwen2").model, init_device_mesh("cpu", (size,)))
        own = dict(model.named_parameters())
        state = read_checkpoint(folder / "step-000003.ckpt")
        stored = {name: state["weights"][name] for name in own}
        found = filled(stored, shards_of(state), lambda keys, mark: torch.empty_like(own[keys[0]].detach()))
        shares = all(isinstance(value, DTensor) for value in found.values())
        parts = sum(local_part(value).numel() for value in found.values())
        return shares, parts, {name: value.full_tensor().tolist() for name, value in found.items()}

    ranks = forked(work, tmp_path, size=size)
    total = sum(torch.tensor(value).numel() for name, value in weights.items() if name != "lm_head.weight")
    for shares, _, found in ranks:
        assert shares
        assert found == {name: weights[name] for name in found}
    assert sum(parts for _, parts, _ in ranks) == total


def test_shards_live_as_long_as_a_checkpoint_names_them(tmp_path):
    def work(rank):
        model, optimizer = trained_in_shards("llama")
        store = CheckpointStore(tmp_path, keep=1)
        for step in (1, 2, 3):
            save(store, model, optimizer, rank, step, best=step == 1)
        return [path.name[:11] for path in sorted(tmp_path.glob("*.shards"))]

    assert forked(work, tmp_path)[0] == ["step-000001", "step-000003"]
    left = CheckpointStore(tmp_path)
    left.forget_after(0)
    assert [path.name[:11] for path in tmp_path.glob("*.shards")] == ["step-000001"]  # that of best.ckpt
    assert "shards" in read_checkpoint(tmp_path / "best.ckpt")


@pytest.mark.parametrize("harm", ["damage", "loss"])
def test_a_checkpoint_whose_shards_are_damaged_or_missing_is_not_taken(tmp_path, harm):
    def work(rank):
        model, optimizer = trained_in_shards("llama")
        store = CheckpointStore(tmp_path)
        for step in (1, 2):
            save(store, model, optimizer, rank, step)

    forked(work, tmp_path)
    (place,) = tmp_path.glob("step-000002*.shards")
    harmed: Path = place / "__1_0.distcp"
    if harm == "loss":
        harmed.unlink()
    else:
        content = bytearray(harmed.read_bytes())
        content[len(content) // 2] ^= 1
        harmed.write_bytes(content)
    with pytest.raises(UnreadableCheckpoint, match="is not there; copy the folder" if harm == "loss" else "is damaged"):
        read_checkpoint(tmp_path / "step-000002.ckpt")
    with pytest.warns(UserWarning, match="going back to the checkpoint before"):
        path, _ = CheckpointStore(tmp_path).newest()
    assert path.name == "step-000001.ckpt"
