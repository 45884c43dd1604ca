"""Rollouts by a ``vllm serve`` on other GPUs or nodes, with weights that are replaced before each rollout.

Start it with the model's own files and in development mode, which lets weights be replaced::

    VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --port 8000 --logprobs-mode processed_logprobs --generation-config vllm \\
        --hf-overrides '{"tie_word_embeddings": false}'

Rank 0 writes the weights into a folder that the server sees and asks it to read them; every rank posts the prompts of
its share. The server keeps a version beside its weights, which every rank reads back after each rollout. A server that
dies or hangs ends the run with one message, and the same command goes on from the last checkpoint.
"""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch.distributed as dist
from torch import Tensor

from gainrl.rollouts.vllm_server import Server
from gainrl.types import SamplingParams

Result = TypeVar("Result")


class ServerFailed(RuntimeError):
    """A server that does not answer or refuses what it is asked; the text says what to do."""


@dataclass(slots=True)
class RemoteServer(Server):
    """A server at ``address``; the version of weights that this run gave it is ``name`` and a number."""

    address: str = ""
    folder: Path = Path()
    timeout: float = 0.0
    together: int = 1
    model: str = ""
    name: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def meets(self) -> bool:
        return _several()

    def holds(self, version: int) -> bool:
        """As rank 0 finds it: another rank might ask when it has been replaced already."""
        return _by_first(lambda: self.version == version)

    @property
    def version(self) -> int | None:
        """The version of this run's weights that the server holds; None for weights of somebody else."""
        name, _, version = str(self._ask("GET", "/weight_info")["weight_version"]).partition(":")
        return int(version) if name == self.name else None

    def load(self, weights: Iterable[tuple[str, Tensor]], version: int) -> None:
        """Rank 0 writes the weights and has them read; the others take part in putting them together, and wait."""
        leads = not _several() or dist.get_rank() == 0
        held = {name: tensor.detach().to("cpu") for name, tensor in weights if leads}
        _by_first(lambda: self._replace(held, version))

    def _replace(self, weights: dict[str, Tensor], version: int) -> None:
        from safetensors.torch import save_file

        place = self.folder / self.name
        place.mkdir(parents=True, exist_ok=True)
        save_file(_unshared(weights), place / "model.safetensors")
        try:
            self._ask("POST", "/pause?mode=wait")
            self._ask("POST", "/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(place)}})
            self._ask("POST", "/reset_prefix_cache")
            self._ask("POST", "/update_weight_version", {"new_version": f"{self.name}:{version}"})
            self._ask("POST", "/resume")
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def complete(
        self,
        requests: Sequence[Sequence[int]],
        sampling: SamplingParams,
        seeds: Sequence[int],
        stop_ids: Sequence[int],
    ) -> tuple[list[list[int]], list[list[float]]]:
        """As `Server.complete`; every completion is a request of its own, with its own seed."""

        def one(prompt: Sequence[int], seed: int) -> tuple[list[int], list[float]]:
            body = {
                "model": self.model,
                "prompt": list(prompt),
                "max_tokens": sampling.max_new_tokens,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": sampling.top_k or -1,
                "seed": seed,
                "stop_token_ids": list(stop_ids),
                "ignore_eos": True,
                "include_stop_str_in_output": True,
                "logprobs": 0,
                "return_token_ids": True,
                "skip_special_tokens": False,
            }
            choice = self._ask("POST", "/v1/completions", body)["choices"][0]
            return list(choice["token_ids"]), list(choice["logprobs"]["token_logprobs"])

        with ThreadPoolExecutor(max_workers=min(self.together, len(requests))) as pool:
            found = list(pool.map(one, requests, seeds))
        return [ids for ids, _ in found], [logprobs for _, logprobs in found]

    def rest(self) -> None:
        """Nothing: its memory is not this device's."""

    def close(self) -> None:
        """Nothing: who started it ends it."""

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.address + path, data=data, method=method, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:
                text = answer.read()
        except urllib.error.HTTPError as fault:
            body = fault.read().decode(errors="replace")[:500]
            hint = "; start it with VLLM_SERVER_DEV_MODE=1" if fault.code == 404 else ""
            raise ServerFailed(
                f"the vLLM server at {self.address} refused {path} ({fault.code}: {body}){hint}"
            ) from None
        except (OSError, TimeoutError) as fault:
            raise ServerFailed(
                f"the vLLM server at {self.address} does not answer {path} ({fault}). Start it again; the same command "
                "then goes on from the last checkpoint"
            ) from None
        return json.loads(text) if text else None


def _unshared(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights, each with memory of its own, as their file needs: a tied output layer is the embeddings' memory."""
    seen: set[int] = set()
    found = {}
    for name, tensor in weights.items():
        found[name] = tensor.clone() if tensor.data_ptr() in seen else tensor.contiguous()
        seen.add(tensor.data_ptr())
    return found


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _by_first(work: Callable[[], Result]) -> Result:
    """What ``work`` gives rank 0, for all ranks that train; where it fails there, it fails everywhere.

    Raises ServerFailed with the reason on the other ranks, which would otherwise wait for rank 0.
    """
    if not _several():
        return work()
    result, reason, fault = None, None, None
    if dist.get_rank() == 0:
        try:
            result = work()
        except (RuntimeError, OSError) as raised:
            fault, reason = raised, str(raised)
    sent: list[Any] = [result, reason]
    dist.broadcast_object_list(sent, src=0)
    result, reason = sent
    if fault is not None:
        raise fault
    if reason is not None:
        raise ServerFailed(reason)
    return result


def connect_server(address: str, *, folder: str, timeout: float, together: int) -> RemoteServer:
    """Meets a running server. Raises ServerFailed where there is none, or it cannot replace its weights."""
    server = RemoteServer(
        None, address=address.rstrip("/"), folder=Path(folder).expanduser(), timeout=timeout, together=together
    )

    def meet() -> tuple[str, str]:
        server._ask("GET", "/weight_info")
        return server.name, server._ask("GET", "/v1/models")["data"][0]["id"]

    server.name, server.model = _by_first(meet)  # all ranks look for the versions that rank 0 gives
    return server
