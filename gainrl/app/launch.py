"""Joins the processes of one run, started by torchrun, by Slurm, or by Lightning, which repeats the command."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig

from gainrl.app.errors import ConfigError
from gainrl.app.runtime import quieten

if TYPE_CHECKING:  # what needs torch is imported when the processes connect: a finished run returns without it
    from gainrl.training.distributed.ranks import Ranks

_ENGINES_OF_ONE_PROCESS = {
    "paged": "it draws all completions of a call with one generator, so completions would depend on the number "
    "of processes",
}
_STRATEGIES = ("single", "ddp", "fsdp")


def check_processes(trainer: DictConfig, *, multirun: bool) -> None:
    """Raises ConfigError if the processes that run, or would be started, cannot train one model together."""
    if trainer.strategy not in _STRATEGIES:
        raise ConfigError(f"trainer.strategy={trainer.strategy!r} is unknown; use {', '.join(_STRATEGIES)}")
    if not isinstance(trainer.devices, int | list | ListConfig) and trainer.devices != "auto":
        raise ConfigError(
            f"trainer.devices={trainer.devices} must be a number, a list such as [0,1], or auto; the kind of "
            "device is trainer.accelerator, such as trainer.accelerator=gpu"
        )
    launcher = launched_by()
    if trainer.strategy == "single":
        if not _one_device(trainer.devices) or trainer.num_nodes != 1:
            raise ConfigError(
                f"trainer.devices={trainer.devices} and trainer.num_nodes={trainer.num_nodes}: one process trains on "
                f"one device; type trainer=ddp trainer.devices={trainer.devices}"
            )
        if launcher == "torchrun" and os.environ["WORLD_SIZE"] != "1":
            raise ConfigError(
                f"torchrun started {os.environ['WORLD_SIZE']} processes, which would all do the same; type trainer=ddp"
            )
    elif multirun and launcher is None:
        raise ConfigError(
            f"trainer.strategy={trainer.strategy} starts its processes by repeating the command, and with -m each of "
            "them would run the whole sweep. Let a launcher start them:\n"
            "  torchrun --nproc-per-node 2 -m gainrl.app.train -m trainer=ddp ...\n"
            "  gainrl-train -m trainer=ddp hydra/launcher=submitit_slurm hydra.launcher.tasks_per_node=2 "
            "hydra.launcher.gpus_per_node=2 ...\n"
            "or give every job one device with trainer=default"
        )


def check_engine(engine: DictConfig, trainer: DictConfig) -> None:
    """Raises ConfigError for an engine whose completions depend on the number of processes."""
    target = str(engine.get("_target_"))
    for name, reason in _ENGINES_OF_ONE_PROCESS.items():
        if trainer.strategy != "single" and target.startswith(f"gainrl.rollouts.{name}."):
            raise ConfigError(
                f"rollout={name} with trainer.strategy={trainer.strategy}: {reason}. Type rollout=hf, or "
                "trainer=default"
            )


def launched_by() -> str | None:
    """``torchrun``, ``slurm`` or ``lightning`` (which sets the rank of the processes it adds); None without a launcher.

    Lightning's rule: a shell inside a Slurm allocation (a job called bash or interactive) does not count as a launcher.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return "torchrun"
    if "SLURM_NTASKS" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        return "slurm"
    return "lightning" if "LOCAL_RANK" in os.environ else None


def speaks() -> bool:
    """Whether this process prints for all of them; known before they have connected."""
    names = {"torchrun": "RANK", "slurm": "SLURM_PROCID", "lightning": "LOCAL_RANK"}
    return os.environ.get(names.get(launched_by() or "", ""), "0") == "0"


def connect(trainer: DictConfig, *, meeting: str) -> Ranks:
    """Starts the other processes unless a launcher has, and connects to them; ``strategy=single`` has no others.

    ``meeting`` names the job, so that the jobs of a sweep do not read each other's addresses.
    """
    from gainrl.training.distributed.ranks import Ranks

    if trainer.strategy == "single":
        return Ranks()
    quieten()
    import torch.distributed as dist
    from lightning.fabric import Fabric
    from lightning.fabric.strategies import DDPStrategy

    timeout = timedelta(minutes=trainer.timeout_minutes)
    if launched_by() == "torchrun":  # whose own store outlives the job
        store, rank, size = next(dist.rendezvous("env://", timeout=timeout))
        dist.init_process_group(store=dist.PrefixStore(meeting, store), rank=rank, world_size=size, timeout=timeout)
    Fabric(accelerator=trainer.accelerator, strategy=DDPStrategy(timeout=timeout), **layout(trainer)).launch()
    return Ranks.connected()


def layout(trainer: DictConfig) -> dict[str, Any]:
    """``devices`` (per node) and ``num_nodes``: as the launcher made them where ``trainer.devices=auto``."""
    launcher = launched_by()
    if trainer.devices == "auto" and launcher == "torchrun":
        per_node = int(os.environ["LOCAL_WORLD_SIZE"])
        return {"devices": per_node, "num_nodes": int(os.environ["WORLD_SIZE"]) // per_node}
    if trainer.devices == "auto" and launcher == "slurm":
        nodes = int(os.environ.get("SLURM_NNODES", 1))
        return {"devices": int(os.environ["SLURM_NTASKS"]) // nodes, "num_nodes": nodes}
    devices = list(trainer.devices) if isinstance(trainer.devices, ListConfig) else trainer.devices
    return {"devices": devices, "num_nodes": trainer.num_nodes}


def _one_device(devices: object) -> bool:
    """Whether ``trainer.devices`` asks for one device: a number of them, or the index of one, as in [3]."""
    return len(devices) == 1 if isinstance(devices, ListConfig | list) else str(devices) == "1"
