"""``gainrl-evaluate``: a model's accuracy on problem sets, without training."""

from __future__ import annotations

from gainrl.app.runtime import importing, prepare_process, quieten

prepare_process()  # before torch is imported

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import gainrl.app.resolvers  # noqa: F401  (registers resolvers)
from gainrl.app.commandline.command import Command, run_command
from gainrl.app.errors import ConfigError, RunRefused
from gainrl.app.identity import RunRecord, open_run, plain_config
from gainrl.app.paths import config_dir
from gainrl.app.refusals import exit_code, refusals
from gainrl.app.reward_checks import judge_name, stamps
from gainrl.app.validate import validate

if TYPE_CHECKING:  # imports torch: only when used, so that a refusal does not wait for it
    import torch

    from gainrl.app.evaluation_parts import EvaluationParts
    from gainrl.training.evaluation import Completion, EvaluationSet
    from gainrl.types import Policy

COMMAND = Command("gainrl-evaluate", "evaluate", "Cannot evaluate")


def cli() -> None:
    """The console script; exits with 1 if the evaluation failed or was refused."""
    sys.exit(run_command(COMMAND, main) or exit_code())


@hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="evaluate")
def main(config: DictConfig) -> None:
    traceback = bool(OmegaConf.select(config, "records.traceback", default=False))
    with refusals(COMMAND.cannot, traceback=traceback):
        run_evaluation(config, Console(), overrides=list(HydraConfig.get().overrides.task))


def run_evaluation(config: DictConfig, console: Console, *, overrides: list[str]) -> dict[str, Any]:
    """Evaluates, or goes on with an interrupted evaluation, and returns the content of ``result.json``.

    A finished evaluation with the same settings returns its stored result. Raises ConfigError before any weight is
    loaded if something cannot work.
    """
    with importing():
        from gainrl.app.components import close_parts
        from gainrl.app.evaluation_parts import build_evaluation_parts
        from gainrl.app.evaluation_record import print_result
        from gainrl.app.trained import with_run_settings

    if config.run is not None:
        config = with_run_settings(config, overrides)
    if config.get("model") is None:
        raise ConfigError(
            "there is no model to evaluate; type model=..., such as model=hub model.source=<folder>, or run=..."
        )
    if config.eval.held_out and config.get("dataset") is None:
        raise ConfigError(
            "eval=held_out evaluates a data set's held-out problems; type dataset=..., or eval=math_suite"
        )
    if not config.eval.held_out and not config.eval.sets:
        raise ConfigError("eval.held_out=false leaves nothing to evaluate; type eval=held_out or eval=math_suite")
    validate(config, "evaluate")
    folder = Path(config.output_dir)
    plain = plain_config(config)
    parts = build_evaluation_parts(config)
    record = open_run(folder, plain)
    try:
        if record.status == "finished":
            result = json.loads((folder / "result.json").read_text())
            print_result(console, result, parts.settings.samples)
            console.print(f"{folder} was finished before: nothing to do", highlight=False)
            return result
        record.begin(plain)
        return _evaluate(config, parts, record, console)
    except BaseException as fault:
        record.update(status="interrupted" if isinstance(fault, KeyboardInterrupt) else "failed", fault=str(fault))
        raise
    finally:
        close_parts(parts.engine, *(evaluated.reward for evaluated in parts.sets))


def _evaluate(config: DictConfig, parts: EvaluationParts, record: RunRecord, console: Console) -> dict[str, Any]:
    import torch

    from gainrl.app.build import load_policy
    from gainrl.app.evaluation_record import CompletionLog, print_result, set_result
    from gainrl.app.trained import checkpoint_file, load_checkpoint
    from gainrl.training.evaluation import chosen_rows, completed, evaluate
    from gainrl.training.solutions import solution_logprobs

    begun = time.perf_counter()
    quieten()
    torch.set_num_threads(1)
    for finding in parts.findings:
        console.print(f"data: {finding}", style="yellow", highlight=False, markup=False)
    policy = load_policy(parts.source, parts.template, parts.train, console)
    if config.checkpoint is not None:
        load_checkpoint(policy, checkpoint_file(config))
    policy.model.to(_device(config.trainer.accelerator)).eval()
    _require_same_weights(record, policy)
    record.update(judges=stamps((evaluated.name, evaluated.reward) for evaluated in parts.sets))
    log = CompletionLog(record.folder / "completions.jsonl")
    result: dict[str, Any] = {
        "weights": record.content["weights"],
        "judges": record.content["judges"],
        "data": parts.findings,
        "evaluation": OmegaConf.to_container(config.evaluation, resolve=True),
        "sets": {},
    }
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("problems"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        for evaluated in parts.sets:
            console.print(f"{evaluated.name}: judged by {judge_name(evaluated.reward)}", style="dim", highlight=False)
            known = log.load(evaluated)
            rows = chosen_rows(evaluated, parts.settings.limit)
            done = len(completed(known, parts.settings).keys() & set(rows.tolist()))
            task = progress.add_task(evaluated.name, total=len(rows), completed=done)
            if done:
                console.print(f"{evaluated.name}: {done} of {len(rows)} problems were judged before", highlight=False)

            def note(fresh: list[Completion], evaluated: EvaluationSet = evaluated, task: Any = task) -> None:
                log.append(evaluated, fresh)
                progress.advance(task, len({completion.row for completion in fresh}))

            completions = evaluate(
                evaluated,
                policy,
                engine=parts.engine,
                template=parts.template,
                settings=parts.settings,
                known=known,
                batch_problems=config.evaluation.batch_problems,
                on_batch=note,
            )
            problems = [evaluated.problems[row] for row in rows.tolist()]
            result["sets"][evaluated.name] = set_result(
                evaluated,
                completions,
                parts.settings,
                resamples=config.evaluation.resamples,
                solutions=solution_logprobs(policy, parts.template, problems).tolist(),
            )
    means = [{name: score["mean"] for name, score in found["scores"].items()} for found in result["sets"].values()]
    result["mean_over_sets"] = {
        name: float(np.mean([mean[name] for mean in means])) for name in means[0] if all(name in mean for mean in means)
    }
    result["seconds"] = round(time.perf_counter() - begun, 3)
    (record.folder / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    objective = result["mean_over_sets"]["accuracy"]
    record.update(status="finished", objective=objective, wall_seconds=result["seconds"])
    record.content.pop("fault", None)
    record.update()
    print_result(console, result, parts.settings.samples)
    console.print(
        f"[bold]{record.folder}[/bold]: completions.jsonl result.json, {result['seconds']:.0f} s", highlight=False
    )
    return result


def _device(accelerator: str) -> torch.device:
    import torch

    if accelerator not in ("auto", "cpu", "cuda", "gpu", "mps"):
        raise ConfigError(f"trainer.accelerator={accelerator!r} is unknown; use auto, cpu, cuda or mps")
    if accelerator == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device("cuda" if accelerator == "gpu" else accelerator)


def _require_same_weights(record: RunRecord, policy: Policy) -> None:
    """Completions of two models must not be counted together."""
    from gainrl.signals.cache import weights_hash

    weights = weights_hash(policy.model)
    stored = record.content.get("weights")
    if stored is not None and stored != weights:
        raise RunRefused(
            f"{record.folder} holds completions of other weights ({stored}, now {weights}), left as they are; give "
            "another directory with hydra.run.dir=..."
        )
    record.update(weights=weights)


if __name__ == "__main__":
    cli()
