import os
import sys

# Before the libraries are imported: no test waits for a network, none writes into the user's caches of results.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["WANDB_MODE"] = "offline"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # models here are so small that a second thread only costs
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import importlib.util

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory) -> None:
    """Warm starts and signal values are computed once per session, and never taken from an earlier one."""
    os.environ["GAINRL_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def no_hydra_left_behind():
    """Hydra is one per process: what a test has started must not meet the next one."""
    yield
    if "hydra.core.global_hydra" in sys.modules:
        sys.modules["hydra.core.global_hydra"].GlobalHydra.instance().clear()


@pytest.fixture(scope="session", autouse=True)
def configurations_composed_once():
    if importlib.util.find_spec("hydra") is None:  # as where the objective is compared with TRL's
        yield
        return
    from tests.composed_once import composed_once

    with composed_once():
        yield
