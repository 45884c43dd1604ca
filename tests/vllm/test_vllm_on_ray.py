"""A ``vllm serve`` that a Ray cluster places, here a cluster of this machine's processors."""

from __future__ import annotations

import os

import pytest

pytestmark = pytest.mark.vllm
pytest.importorskip(
    "vllm", reason="vLLM is not installed here; `make test-vllm` runs these tests in their own environment"
)
ray = pytest.importorskip("ray", reason="Ray is not installed: pip install ray")

from tests.app.pairs import alone, log  # noqa: E402
from tests.faults.lives import ROOT  # noqa: E402
from tests.vllm.serving import Served  # noqa: E402
from tests.vllm.test_vllm_processes import SMALL, STEPS, arm_of, disagreement, model  # noqa: E402, F401


class Placed(Served):
    """The server as an actor, whose methods answer with what can travel."""

    def ready(self) -> str:
        return self.wait().address


@pytest.fixture
def placed(model, tmp_path, monkeypatch):  # noqa: F811
    # Workers need no token of the user's, and no statistics leave the machine.
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    ray.init(num_cpus=1, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": path}})
    actor = ray.remote(num_cpus=1)(Placed).remote(model, tmp_path / "server.log")
    yield actor
    ray.get(actor.kill.remote())
    ray.shutdown()


def test_a_server_in_an_actor_gets_the_weights_of_every_step(model, placed, tmp_path):  # noqa: F811
    run, address = tmp_path / "run", ray.get(placed.ready.remote())
    arm = arm_of(model, address, tmp_path)
    assert alone(run, arm, tmp_path / "cache", small=SMALL).end() == 0, log(run)
    found = disagreement(run)
    assert len(found) == STEPS
    assert max(found) < 1e-3
    version = ray.get(placed.ask.remote("/weight_info"))["weight_version"]
    assert int(version.partition(":")[2]) > 0
