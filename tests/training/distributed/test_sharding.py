"""Putting a state in shards together; training in shards is in tests/app/test_several_processes.py."""

from __future__ import annotations

import weakref

import pytest
import torch

from gainrl.training.distributed import ranks

alive: list[weakref.ref] = []


class Shards:
    """A tensor in shards, which notes how many whole ones exist besides the one that it makes."""

    most = 0

    def __init__(self, value: float) -> None:
        self.value = value

    def full_tensor(self) -> torch.Tensor:
        Shards.most = max(Shards.most, sum(ref() is not None for ref in alive))
        full = torch.full((3,), self.value)
        alive.append(weakref.ref(full))
        return full


@pytest.mark.parametrize("keep", [True, False])
def test_a_state_in_shards_is_made_whole_tensor_by_tensor_and_kept_where_it_is_written(monkeypatch, keep):
    monkeypatch.setattr(ranks, "DTensor", Shards)
    monkeypatch.setattr(Shards, "most", 0)
    alive.clear()
    state = {
        "state": {0: {"step": torch.tensor(4.0), "exp_avg": Shards(1.0)}, 1: {"exp_avg": Shards(2.0)}},
        "lr": [0.1],
    }
    made = ranks.whole(state, keep=keep)
    assert len(alive) == 2  # every rank takes part
    assert made["lr"] == [0.1]
    assert made["state"][0]["step"] == 4
    found = [made["state"][index]["exp_avg"] for index in (0, 1)]
    if keep:
        assert [tensor.tolist() for tensor in found] == [[1.0] * 3, [2.0] * 3]
    else:
        assert found == [None, None]
        assert Shards.most == 0  # each was gone before the next was made
