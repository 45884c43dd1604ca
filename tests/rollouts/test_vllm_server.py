"""How vLLM is started, given weights, put to sleep and ended; a stand-in notes what is asked of it."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from gainrl.rollouts import vllm_server
from gainrl.rollouts.vllm_server import Server, start_server
from tests.architectures import build_policy


class Noting:
    """Takes every call and keeps ``name(arguments)``; what it is asked for is one as well."""

    def __init__(self, calls: list[str], name: str = "") -> None:
        self._calls, self._name = calls, name

    def __getattr__(self, name: str) -> Noting:
        return Noting(self._calls, f"{self._name}.{name}".lstrip("."))

    def __call__(self, *given: object, **named: object) -> bool:
        self._calls.append(f"{self._name}({', '.join(repr(one) for one in given if not callable(one))})")
        return True


@pytest.fixture
def started(monkeypatch):
    """The settings with which ``vllm.LLM`` was made, by `start_server` on a GPU in name."""
    found = {}
    fake = ModuleType("vllm")
    fake.LLM = lambda folder, **settings: found.update(settings)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", fake)
    for name in vllm_server._ENVIRONMENT:
        monkeypatch.setenv(name, "")  # so that it is put back
    settings = {"dtype": torch.bfloat16, "memory_gib": None, "memory_share": 0.5, "max_batch_size": 8}
    settings |= {"max_length": 100, "sleep": True, "eager": False}
    start_server(build_policy("llama").model, device=torch.device("cuda"), **settings)
    return found


def test_on_a_gpu_it_sleeps_and_keeps_room_for_as_many_tokens_as_it_is_told(started):
    assert started["dtype"] == "bfloat16"
    assert started["enable_sleep_mode"] is True
    assert (started["max_model_len"], started["max_num_batched_tokens"]) == (100, 4096)
    assert (started["gpu_memory_utilization"], started["kv_cache_memory_bytes"]) == (0.5, None)
    assert "distributed_executor_backend" not in started


def test_it_wakes_for_its_weights_first_and_gets_the_memory_of_its_cache_last():
    calls: list[str] = []
    server = Server(Noting(calls), sleeps=True)
    server.rest()
    server.rest()
    assert server.version is None
    server.load([], 3)
    assert calls == [
        "sleep()",
        "wake_up(['weights'])",
        "collective_rpc('reload_weights')",
        "apply_model()",
        "wake_up(['kv_cache'])",
        "reset_prefix_cache()",
    ]
    calls.clear()
    server.load([], 4)  # awake: the cache of the old weights goes before they do
    assert calls == ["reset_prefix_cache()", "collective_rpc('reload_weights')", "apply_model()"]


@pytest.mark.parametrize("adopts", [True, False])
def test_a_process_group_that_was_there_before_outlives_it(adopts, monkeypatch):
    calls: list[str] = []
    state = ModuleType("vllm.distributed.parallel_state")
    state.destroy_model_parallel = lambda: calls.append("destroy_model_parallel()")  # type: ignore[attr-defined]
    state._WORLD = SimpleNamespace(destroy=lambda: calls.append("own groups"))  # type: ignore[attr-defined]
    package = ModuleType("vllm.distributed")
    package.parallel_state = state  # type: ignore[attr-defined]
    for name, module in (("vllm", ModuleType("vllm")), ("vllm.distributed", package), (state.__name__, state)):
        monkeypatch.setitem(sys.modules, name, module)
    Server(Noting(calls), adopts=adopts).close()
    ends_all = any(call.endswith("engine_core.shutdown()") for call in calls)
    assert ends_all is not adopts
    assert ("own groups" in calls) is adopts
    assert any("model_executor.shutdown" in call for call in calls) is adopts
