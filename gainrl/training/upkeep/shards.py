"""Checkpoints of a model in shards: every rank writes its own parts, and any number of ranks can read them.

`write_shards` puts the tensors in shards of a state into a folder (`torch.distributed.checkpoint`, one file for each
rank) and leaves a mark in their place. The marked state is small; it goes into the checkpoint file, which appears last
and names the folder, the sizes of its files and their checksums. A folder that no checkpoint names is left over from a
write that did not end.

Whoever reads gives tensors to fill: whole ones, or shards of another layout, of which each rank reads its own parts.
Nothing is put together on the way.
"""

from __future__ import annotations

import shutil
import uuid
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from gainrl.files import sync
from gainrl.training.distributed.ranks import Ranks

SUFFIX = ".shards"
_MARK = "in shards"
_BLOCK = 1 << 24


def has_shards(state: Any) -> bool:
    """Whether tensors in shards are somewhere in a state."""
    if isinstance(state, Mapping):
        return any(map(has_shards, state.values()))
    return any(map(has_shards, state)) if isinstance(state, list | tuple) else isinstance(state, DTensor)


def write_shards(state: Mapping[str, Any], folder: Path, step: int, ranks: Ranks) -> dict[str, Any]:
    """The state with marks in place of tensors in shards, which are on the disk in a new folder inside ``folder``.

    Every rank must call it. Raises OSError or RuntimeError on all of them where one could not write.
    """
    from torch.distributed import checkpoint

    tensors: dict[str, Tensor] = {}
    marked = _marked(state, tensors, {})
    name = ranks.gather(f"step-{step:06d}-{uuid.uuid4().hex[:8]}{SUFFIX}")[0]
    place = folder / name
    ranks.first(lambda: place.mkdir(parents=True, exist_ok=True))
    checkpoint.save(tensors, storage_writer=checkpoint.FileSystemWriter(place), no_dist=ranks.size == 1)
    mine = sorted(place.glob(f"__{ranks.rank}_*")) + ([place / ".metadata"] if ranks.leads else [])
    sums = ranks.everywhere(lambda: {path.name: [path.stat().st_size, _checksum(path)] for path in mine})
    ranks.first(lambda: sync(place))
    files: dict[str, Any] = {}
    for of_rank in sums:
        files |= of_rank
    return marked | {"shards": {"folder": name, "files": files}}


def _marked(value: Any, tensors: dict[str, Tensor], known: dict[tuple[Any, ...], str], path: str = "") -> Any:
    """A copy of a state with marks for tensors in shards, which are added to ``tensors``; tied ones are kept once."""
    if isinstance(value, DTensor):
        local = value.to_local()
        same = (local.data_ptr(), tuple(value.shape)) if local.numel() else (path,)
        key = known.setdefault(same, path)
        tensors.setdefault(key, value)
        return {_MARK: key, "shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
    if isinstance(value, Mapping):
        return {key: _marked(item, tensors, known, f"{path}/{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_marked(item, tensors, known, f"{path}/{at}") for at, item in enumerate(value))
    return value


def is_mark(value: Any) -> bool:
    return isinstance(value, Mapping) and _MARK in value


def check_shards(state: Mapping[str, Any], beside: Path, *, contents: bool) -> None:
    """Raises ValueError where the folder that a checkpoint names is not beside it, or not as it was written.

    ``contents``: whether the checksums of all files are computed again, and not only their sizes compared.
    """
    if "shards" not in state:
        return
    place = beside.parent / state["shards"]["folder"]
    for name, (size, checksum) in state["shards"]["files"].items():
        path = place / name
        if not path.is_file():
            raise ValueError(f"{path}, which belongs to it, is not there; copy the folder with the checkpoint")
        if path.stat().st_size != size or (contents and _checksum(path) != checksum):
            raise ValueError(f"{path}, which belongs to it, is damaged")


def filled(value: Any, place: Path | None, target: Callable[[tuple[str, ...], Any], Tensor | None]) -> Any:
    """A state with tensors in place of its marks, read from the folder ``place``; without marks it is what it was.

    ``target`` gives the tensor that takes the content of a mark, by the keys that lead to it: whole, in shards, or
    None for a new one in memory of the host. Each rank reads what it needs, by itself.
    """
    from torch.distributed import checkpoint

    wanted: dict[str, list[Tensor]] = {}

    def walk(item: Any, keys: tuple[str, ...]) -> Any:
        if is_mark(item):
            tensor = target(keys, item)
            if tensor is None:
                tensor = torch.empty(item["shape"], dtype=getattr(torch, item["dtype"]))
            wanted.setdefault(item[_MARK], []).append(tensor)
            return tensor
        if isinstance(item, Mapping):
            return {key: walk(inner, (*keys, str(key))) for key, inner in item.items()}
        if isinstance(item, list | tuple):
            return type(item)(walk(inner, (*keys, str(at))) for at, inner in enumerate(item))
        return item

    found = walk(value, ())
    if wanted:
        assert place is not None
        reader = checkpoint.FileSystemReader(place)
        checkpoint.load({key: tensors[0] for key, tensors in wanted.items()}, storage_reader=reader, no_dist=True)
        for first, *others in wanted.values():
            for other in others:
                if other is not first:
                    other.copy_(first)
    return found


def drop_unnamed(folder: Path, named: set[str]) -> None:
    """Removes the folders of shards that no checkpoint names."""
    for place in folder.glob(f"*{SUFFIX}"):
        if place.name not in named:
            shutil.rmtree(place, ignore_errors=True)


def copy_shards(state: Mapping[str, Any], source: Path, target: Path) -> None:
    """Brings the folder that the checkpoint ``source`` names beside the checkpoint ``target``."""
    if "shards" in state:
        name = state["shards"]["folder"]
        shutil.copytree(source.parent / name, target.parent / name, dirs_exist_ok=True)


def size_of(state: Mapping[str, Any]) -> int:
    """Bytes of the shards that a state names."""
    return sum(size for size, _ in state.get("shards", {}).get("files", {}).values())


def _checksum(path: Path) -> int:
    found = 0
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            found = zlib.crc32(block, found)
    return found
