"""One run from its configuration to its record: build, train, close."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import lightning
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from rich.console import Console

from gainrl.app.build import build_datamodule, build_module, load_policy
from gainrl.app.components import Parts, close_parts
from gainrl.app.hardware import (
    check_hardware,
    make_trainer,
    note_memory,
    optional_kernels,
    print_expectations,
    settle_threads,
    threads_for_warm_start,
    will_use_cuda,
)
from gainrl.app.identity import RunRecord, plain_config
from gainrl.app.resume import find_checkpoint, run_identity
from gainrl.app.reward_checks import stamps
from gainrl.app.runtime import quieten
from gainrl.app.signal_wiring import concentration_measure, signal_measure
from gainrl.app.summary import print_opening, print_summary
from gainrl.app.tracking import close_logger, make_logger, restart_tracker
from gainrl.functional.formulas import describe, ineffective_knobs
from gainrl.models.export import export_policy
from gainrl.report.curves import draw_curves, run_title
from gainrl.training.callbacks import Checkpoints, Evaluation, ProgressDisplay, Records, SignalRefresh, Trace
from gainrl.training.datamodule import PromptDataModule
from gainrl.training.distributed.ranks import Ranks
from gainrl.training.grpo import GRPOModule
from gainrl.training.upkeep.checkpoints import CheckpointStore
from gainrl.training.upkeep.failures import RewardFailures
from gainrl.training.upkeep.interruption import StopRequest
from gainrl.training.upkeep.state import remaining_epochs, restore_state


def train(
    config: DictConfig,
    parts: Parts,
    record: RunRecord,
    console: Console,
    stop: StopRequest | None = None,
    ranks: Ranks | None = None,
) -> float:
    """Trains and returns the objective: final held-out greedy accuracy, mean over levels.

    Goes on from the last checkpoint of the run directory, or from that of ``resume``. Raises Interrupted, with a
    checkpoint written, when ``stop`` asks for it.
    """
    begun = time.perf_counter()
    ranks = ranks or Ranks()
    quieten()
    stop = stop or StopRequest()
    failures = RewardFailures(max_rate=config.faults.reward_failure_rate, give_up=stop.give_up)
    rewards = [parts.reward, *(evaluated.reward for evaluated in parts.evaluation_sets)]
    parts.reward = failures.watched(parts.reward)
    parts.evaluation.sets = [replace(one, reward=failures.watched(one.reward)) for one in parts.evaluation.sets]
    check_hardware(config)
    folder = record.folder
    updates = config.algorithm.inner_epochs * (
        config.schedule.prompts_per_step // (config.algorithm.minibatch_prompts or config.schedule.prompts_per_step)
    )
    formula = describe(parts.objective, parts.advantage, parts.critic.value if parts.critic is not None else None)
    remarks = ineffective_knobs(parts.objective, parts.advantage, updates_per_rollout=updates)
    print_opening(console, config, parts, formula, remarks)
    judges = [("reward", parts.reward), *((f"eval/{item.name}", item.reward) for item in parts.evaluation_sets)]
    record.update(formula=formula, ineffective_settings=remarks, judges=stamps(judges))

    data = build_datamodule(config, parts)
    gauges: dict[str, Callable[[], float | None]] = {}
    callbacks: list[Callback] = [
        SignalRefresh(
            measure=signal_measure(config, parts, console),
            folder=folder / "signals",
            every_epochs=config.schedule.refresh_every_epochs,
            measure_concentration=concentration_measure(config, parts),
        ),
        parts.evaluation,
        ProgressDisplay(console=console),
        Records(folder=folder, rollouts_every=config.records.rollouts_every, repair=restart_tracker, gauges=gauges),
    ]
    if config.profile and ranks.leads:
        callbacks.append(Trace(path=folder / "trace.json.gz"))
    logger = make_logger(config, folder) if ranks.leads else None
    failed = True
    try:
        threads_for_warm_start(config, parts.model_source)
        policy = ranks.in_turn(
            partial(load_policy, parts.model_source, parts.template, parts.splits.warm_start, console)
        )
        optional_kernels(config, policy)
        bundle = folder / "faults" / "nonfinite.pt" if ranks.leads else None
        module = build_module(config, parts, policy, bundle, ranks)
        peak = print_expectations(
            record,
            module,
            data,
            console,
            cuda=will_use_cuda(config),
            compiled=config.trainer.compile,
            shards=module.ranks.size if config.trainer.strategy == "fsdp" else 1,
        )
        store = CheckpointStore(folder / "checkpoints", keep=config.checkpoint.keep)
        identity = run_identity(plain_config(config), parts.splits, parts.evaluation_sets, policy)
        ranks.agree("settings, problems or weights", identity)
        checkpoints = Checkpoints(
            store=store,
            identity=identity,
            every_steps=config.checkpoint.every_steps,
            every_minutes=config.checkpoint.every_minutes,
            monitor=config.checkpoint.monitor,
            mode=config.checkpoint.mode,
            durable=[folder / "metrics.csv", folder / "rollouts.jsonl"],
            stop=stop,
        )
        callbacks.append(checkpoints)
        gauges["memory/peak_bytes"] = peak.most
        gauges["checkpoint/bytes"] = lambda: None if checkpoints.saved is None else checkpoints.saved.size
        state = ranks.in_turn(
            partial(find_checkpoint, config.resume, folder, store, identity, console, writes=ranks.leads)
        )
        ranks.agree("checkpoints", None if state is None else state["counters"])
        if state is not None:
            restore_state(state, module, data, callbacks)
            checkpoints.resume(state)
            record.update(resumed_after=[*record.content.get("resumed_after", []), module.counters.step])
        schedule = config.schedule
        epochs = remaining_epochs(
            module.counters.step, steps_per_epoch=schedule.steps_per_epoch, total_steps=schedule.steps
        )
        trainer = make_trainer(
            config, ranks, max_epochs=epochs, logger=logger or False, callbacks=callbacks, default_root_dir=folder
        )
        settle_threads(config, record, module, data, console)
        if module.counters.step < schedule.steps:
            _fit(trainer, module, data)
        failed = False
    finally:
        close_logger(logger, failed=failed)
        close_parts(parts.engine, *rewards)
    note_memory(record, peak, console)
    return close_run(record, module, parts.evaluation, console, config, seconds=time.perf_counter() - begun)


def close_run(
    record: RunRecord,
    module: GRPOModule,
    evaluation: Evaluation,
    console: Console,
    config: DictConfig,
    *,
    seconds: float,
) -> float:
    """Exports the policy, draws the curves, writes the record and prints the closing table."""
    first, last = evaluation.first, evaluation.latest
    objective = last.get("eval/accuracy", float("nan"))
    counters = module.counters

    def leave() -> None:
        folder = record.folder
        export_policy(module.policy, folder / "policy")
        draw_curves(folder / "metrics.csv", folder / "curves.png", title=run_title(plain_config(config)))
        record.update(
            status="finished",
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

    module.ranks.first(leave)  # the others end when the record says that the run is finished
    if module.ranks.leads:
        print_summary(console, record, first, last, module)
    return objective


def _fit(trainer: lightning.Trainer, module: GRPOModule, data: PromptDataModule) -> None:
    try:
        trainer.fit(module, datamodule=data)
    except SystemExit as stop:  # what Lightning makes of Ctrl+C, once it has closed down
        raise KeyboardInterrupt from stop
