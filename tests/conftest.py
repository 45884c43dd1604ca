import os
import sys

# Before the libraries are imported: no test waits for a network, none writes into the user's caches of results.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["WANDB_MODE"] = "offline"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # models here are so small that a second thread only costs
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import copy
import importlib.util
import io
from types import SimpleNamespace

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
def files_parsed_once():
    """Thousands of compositions read the same hundred files; a copy of what was parsed is five times cheaper."""
    if importlib.util.find_spec("hydra") is None:  # as where the objective is compared with TRL's
        yield
        return
    from hydra._internal.core_plugins import file_config_source
    from hydra.core.plugins import Plugins
    from omegaconf import OmegaConf

    Plugins.instance()  # the scan for plugins runs the module again, and would undo the patch

    parsed = {}

    def load(file):
        text = file.read()
        if text not in parsed:
            parsed[text] = OmegaConf.load(io.StringIO(text))
        return copy.deepcopy(parsed[text])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_config_source, "OmegaConf", SimpleNamespace(load=load))
        yield
