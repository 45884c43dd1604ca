import pytest
from omegaconf import OmegaConf
from rich.console import Console

from gainrl.app.errors import ConfigError
from gainrl.app.launch import check_engine, check_processes, launched_by, layout, speaks
from gainrl.app.train import run_job
from tests.composition import composed

NAMES = (
    *("TORCHELASTIC_RUN_ID", "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    *("SLURM_NTASKS", "SLURM_NNODES", "SLURM_PROCID", "SLURM_JOB_NAME"),
)
TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}
SLURM = {"SLURM_NTASKS": "8", "SLURM_NNODES": "2", "SLURM_PROCID": "0", "SLURM_JOB_NAME": "train"}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return lambda names: [monkeypatch.setenv(name, value) for name, value in names.items()]


def trainer(**changes):
    return OmegaConf.create({"strategy": "ddp", "devices": "auto", "num_nodes": 1} | changes)


def test_a_sweep_of_jobs_that_would_repeat_its_command_is_refused_with_the_commands_that_work():
    with pytest.raises(ConfigError, match=r"torchrun --nproc-per-node 2 -m gainrl.app.train -m trainer=ddp") as refused:
        check_processes(trainer(), multirun=True)
    assert "hydra/launcher=submitit_slurm hydra.launcher.tasks_per_node=2" in str(refused.value)
    check_processes(trainer(), multirun=False)
    check_processes(trainer(strategy="single", devices=1), multirun=True)


@pytest.mark.parametrize("launcher", [TORCHRUN, SLURM])
def test_a_sweep_whose_processes_a_launcher_makes_is_fine(environment, launcher):
    environment(launcher)
    check_processes(trainer(), multirun=True)
    assert layout(trainer()) == {"devices": 4, "num_nodes": 2}
    assert layout(trainer(devices=3)) == {"devices": 3, "num_nodes": 1}


def test_a_kind_of_device_in_place_of_their_number_is_refused_with_the_setting_for_it(environment):
    with pytest.raises(ConfigError, match=r"trainer.devices=gpu must be a number.*trainer.accelerator=gpu"):
        check_processes(trainer(strategy="single", devices="gpu"), multirun=False)


def test_several_devices_need_a_trainer_for_them(environment):
    with pytest.raises(ConfigError, match=r"devices=2.*type trainer=ddp trainer.devices=2"):
        check_processes(trainer(strategy="single", devices=2), multirun=False)
    with pytest.raises(ConfigError, match="'fast' is unknown; use single, ddp, fsdp"):
        check_processes(trainer(strategy="fast"), multirun=False)
    environment(TORCHRUN)
    with pytest.raises(ConfigError, match=r"torchrun started 8 processes.*type trainer=ddp"):
        check_processes(trainer(strategy="single", devices=1), multirun=False)


def test_one_device_may_be_named_by_its_index():
    chosen = trainer(strategy="single", devices=[3])
    check_processes(chosen, multirun=False)
    assert layout(chosen)["devices"] == [3]
    with pytest.raises(ConfigError, match=r"devices=\[2, 3\].*type trainer=ddp"):
        check_processes(trainer(strategy="single", devices=[2, 3]), multirun=False)


def test_who_started_a_process_and_which_one_speaks(environment):
    assert (launched_by(), speaks()) == (None, True)
    environment({"LOCAL_RANK": "1"})
    assert (launched_by(), speaks()) == ("lightning", False)
    environment(SLURM)
    assert (launched_by(), speaks()) == ("slurm", True)
    environment(TORCHRUN)
    assert (launched_by(), speaks()) == ("torchrun", False)


def test_a_shell_inside_an_allocation_is_no_launcher(environment):
    environment(SLURM | {"SLURM_JOB_NAME": "bash"})
    assert launched_by() is None


@pytest.mark.parametrize("engine", ["paged"])
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_engines_that_would_not_write_the_completions_of_one_process_are_refused(engine, strategy):
    config = composed(f"rollout={engine}", f"trainer={strategy}")
    with pytest.raises(ConfigError, match=f"rollout={engine} with trainer.strategy={strategy}.*Type rollout=hf, or"):
        check_engine(config.rollout.engine, config.trainer)
    with pytest.raises(ConfigError, match="rollout=hf"):
        run_job(config, Console(quiet=True))
    check_engine(composed().rollout.engine, config.trainer)
    check_engine(config.rollout.engine, composed().trainer)
