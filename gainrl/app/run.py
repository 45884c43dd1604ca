"""One run from its configuration to its record: build, train, close."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import lightning
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from rich.console import Console

from gainrl.app.build import build_callbacks, build_datamodule, build_module, load_policy
from gainrl.app.components import Components, close_parts
from gainrl.app.fits import check_fits
from gainrl.app.hardware import (
    check_hardware,
    longest_prompt,
    make_trainer,
    note_memory,
    optional_kernels,
    plan_of,
    print_expectations,
    will_use_cuda,
)
from gainrl.app.identity import RunRecord, plain_config
from gainrl.app.origins import origins
from gainrl.app.resume import find_checkpoint, run_identity
from gainrl.app.reward_checks import stamps
from gainrl.app.runtime import quieten
from gainrl.app.signal_wiring import concentration_measure, signal_measure, states_measure
from gainrl.app.summary import print_opening, print_summary
from gainrl.app.trackers import close_loggers, make_loggers, repair
from gainrl.functional.formulas import describe, ineffective_knobs
from gainrl.models.export import export_policy
from gainrl.report.curves import draw_curves, run_title
from gainrl.training.callbacks import Checkpoints, Records
from gainrl.training.callbacks.evaluation import evaluation_of
from gainrl.training.collection import RewardFailures
from gainrl.training.datamodule import PromptDataModule
from gainrl.training.distributed.ranks import Ranks
from gainrl.training.grpo import GRPOModule
from gainrl.training.runtime import Runtime
from gainrl.training.upkeep.checkpoints import CheckpointStore
from gainrl.training.upkeep.interruption import StopRequest
from gainrl.training.upkeep.memory import DoesNotFit, remember_limit, remembered_limit
from gainrl.training.upkeep.peak import PeakMemory
from gainrl.training.upkeep.state import remaining_epochs, restore_state

Kind = TypeVar("Kind")


def train(
    config: DictConfig,
    components: Components,
    callbacks: list[Callback],
    record: RunRecord,
    console: Console,
    ranks: Ranks | None = None,
) -> float:
    """Trains and returns the objective: final held-out greedy accuracy, mean over levels.

    ``callbacks``: as `prepare_callbacks` gives them. Goes on from the last checkpoint of the run directory, or from
    the one that ``resume`` names. Raises Interrupted, with a checkpoint written, when the run is asked to stop.
    """
    begun = time.perf_counter()
    runtime = Runtime(seed=config.seed, ranks=ranks or Ranks())
    ranks = runtime.ranks
    quieten()
    check_hardware(config)
    folder = record.folder
    describe_run(config, components, record, console)
    data = build_datamodule(config, components, runtime)
    checkpoints, records = _only(callbacks, Checkpoints), _only(callbacks, Records)
    peak, store = records.peak, checkpoints.store
    assert peak is not None
    loggers = make_loggers(config, folder) if ranks.leads else []
    failed = True
    try:
        check_fits(config, components, longest_prompt(data), plan_of(config, ranks.size))
        policy = ranks.in_turn(
            partial(load_policy, components.model_source, components.template, components.splits.warm_start, console)
        )
        optional_kernels(config, policy)
        bundle = folder / "faults" / "nonfinite.pt" if ranks.leads else None
        module = build_module(config, components, policy, runtime, bundle)
        print_expectations(
            record,
            module,
            data,
            console,
            callbacks,
            plan=plan_of(config, module.ranks.size),
            compiled=config.trainer.compile,
        )
        peak.begin()
        identity = run_identity(plain_config(config), components.splits, components.evaluation_sets, policy)
        ranks.agree("settings, problems or weights", identity)
        checkpoints.identity = identity
        state = ranks.in_turn(
            partial(find_checkpoint, config.resume, folder, store, identity, console, writes=ranks.leads)
        )
        ranks.agree("checkpoints", None if state is None else state["counters"])
        if state is not None:
            restore_state(state, module, data, callbacks)
            checkpoints.resume(state)
            record.update(resumed_after=[*record.content.get("resumed_after", []), module.counters.step])
            state = None  # its content has been used, or is kept until the optimizers exist
        module.limits.tokens = min(module.limits.tokens, remembered_limit(folder) or module.limits.tokens)
        schedule = config.schedule
        epochs = remaining_epochs(
            module.counters.step, steps_per_epoch=schedule.steps_per_epoch, total_steps=schedule.steps
        )
        trainer = make_trainer(
            config,
            ranks,
            callbacks=callbacks,
            default_root_dir=folder,
            steps_left=schedule.steps - module.counters.step,
            max_epochs=epochs,
            logger=loggers or False,
        )
        if module.counters.step < schedule.steps:
            try:
                _fit(trainer, module, data)
            except DoesNotFit as fault:
                if fault.tokens is not None:
                    remember_limit(folder, fault.tokens)
                raise
        failed = False
    finally:
        close_loggers(loggers, failed=failed)
        close_parts(components.engine, components.reward, *(one.reward for one in components.evaluation_sets))
    note_memory(record, peak, console)
    return close_run(record, module, callbacks, console, config, seconds=time.perf_counter() - begun)


def prepare_callbacks(
    config: DictConfig, components: Components, folder: Path, console: Console, stop: StopRequest
) -> list[Callback]:
    """The callbacks of a run in ``folder``, checked before anything is written there."""
    return build_callbacks(
        config,
        {
            "folder": folder,
            "console": console,
            "measure": signal_measure(config, components, console),
            "measure_concentration": concentration_measure(components),
            "measure_states": states_measure(components),
            "sets": components.evaluation_sets,
            "repair": repair,
            "peak": PeakMemory(cuda=will_use_cuda(config)),
            "store": CheckpointStore(folder / "checkpoints", keep=config.checkpoint.keep),
            "durable": [folder / "metrics.csv", folder / "rollouts.jsonl"],
            "stop": stop,
        },
    )


def counting_failures(components: Components, config: DictConfig, stop: StopRequest) -> Components:
    """The components with rewards whose judge's failures are counted, and stop the run where they are too many."""
    failures = RewardFailures(max_rate=config.faults.reward_failure_rate, give_up=stop.give_up)
    sets = [replace(one, reward=failures.watched(one.reward)) for one in components.evaluation_sets]
    return replace(components, reward=failures.watched(components.reward), evaluation_sets=sets)


def describe_run(config: DictConfig, components: Components, record: RunRecord, console: Console) -> None:
    """Prints what will run, and puts the formula, idle settings and isolation of programs on record."""
    algorithm = components.algorithm
    updates = algorithm.updates_per_step(config.schedule.prompts_per_step)
    value = algorithm.critic.value if algorithm.critic is not None else None
    formula = describe(algorithm.objective, algorithm.advantage, value)
    off_policy = algorithm.replay is not None  # then ratios are not 1 even in the first update
    remarks = ineffective_knobs(
        algorithm.objective, algorithm.advantage, updates_per_rollout=None if off_policy else updates
    )
    print_opening(console, config, components, formula, remarks)
    judges = [("reward", components.reward), *((f"eval/{one.name}", one.reward) for one in components.evaluation_sets)]
    record.update(formula=formula, ineffective_settings=remarks, judges=stamps(judges), origins=origins(components))


def close_run(
    record: RunRecord,
    module: GRPOModule,
    callbacks: Sequence[Callback],
    console: Console,
    config: DictConfig,
    *,
    seconds: float,
) -> float:
    """Exports the policy, draws the curves, writes the record and prints the closing table."""
    evaluation = evaluation_of(callbacks)
    first, last = ({}, {}) if evaluation is None else (evaluation.first, evaluation.latest)
    stopped = _only(callbacks, Checkpoints).stopped_early
    objective = last.get("eval/accuracy", float("nan"))
    counters = module.counters

    def leave() -> None:
        folder = record.folder
        export_policy(module.policy, folder / "policy")
        draw_curves(folder / "metrics.csv", folder / "curves.png", title=run_title(plain_config(config)))
        record.update(
            status="finished",
            stopped_early=stopped,
            objective=objective,
            metrics={
                "accuracy_initial": first.get("eval/accuracy"),
                "accuracy_final": objective,
                "initial": first,
                "final": last,
                "prompts_seen": counters.prompts,
                "rollouts": counters.rollouts,
                "generated_tokens": counters.generated_tokens,
                "steps": counters.step,
                "updates": counters.updates,
            },
            phase_seconds={name: round(value, 3) for name, value in sorted(module.clock.seconds.items())},
            phase_tokens=dict(sorted(module.clock.tokens.items())),
            wall_seconds=round(seconds, 3),
        )

    module.ranks.first(leave)  # the others end once the record says finished
    if stopped is not None:
        console.print(f"note: {stopped}", style="yellow", highlight=False, markup=False)
    if module.ranks.leads:
        print_summary(console, record, first, last, module)
    return objective


def _only(callbacks: Sequence[Callback], kind: type[Kind]) -> Kind:
    return next(callback for callback in callbacks if isinstance(callback, kind))


def _fit(trainer: lightning.Trainer, module: GRPOModule, data: PromptDataModule) -> None:
    try:
        trainer.fit(module, datamodule=data)
    except SystemExit as stop:  # which Lightning raises after Ctrl+C, once it has closed down
        raise KeyboardInterrupt from stop
