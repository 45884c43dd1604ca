"""``gainrl-evaluate``: a model's accuracy on problem sets, without training."""

from __future__ import annotations

from gainrl.app.runtime import prepare_process, quieten

prepare_process()  # before torch is imported

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import gainrl.app.resolvers  # noqa: F401  (registers resolvers)
from gainrl.app.build import load_policy
from gainrl.app.evaluation_record import CompletionLog, print_result, set_result
from gainrl.app.faults import ConfigError, RunRefused, first_cause
from gainrl.app.identity import RunRecord, open_run, plain_config
from gainrl.app.judges import require_judgeable, stamps
from gainrl.app.parts import build_evaluation_sets, close_parts
from gainrl.app.paths import config_dir
from gainrl.app.trained import checkpoint_file, load_checkpoint, with_run_settings
from gainrl.app.validate import validate
from gainrl.datasets.templates import BoundTemplate
from gainrl.signals.cache import weights_hash
from gainrl.training.evaluation import Completion, EvaluationSet, EvaluationSettings, chosen_rows, completed, evaluate
from gainrl.types import Policy, ProblemSet, RolloutEngine

_exit_code = 0


def cli() -> None:
    """The console script; exits with 1 if the evaluation failed or was refused."""
    main()
    sys.exit(_exit_code)


@hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="evaluate")
def main(config: DictConfig) -> None:
    global _exit_code
    try:
        run_evaluation(config, Console(), overrides=list(HydraConfig.get().overrides.task))
    except ValueError as fault:
        _exit_code = 1
        errors = Console(stderr=True)
        errors.print("[bold red]Cannot evaluate:[/bold red] ", end="")
        errors.print(str(fault), markup=False, highlight=False)
        if OmegaConf.select(config, "records.traceback", default=False):
            errors.print_exception(show_locals=False)


def run_evaluation(config: DictConfig, console: Console, *, overrides: list[str]) -> dict[str, Any]:
    """Evaluates, or goes on with an interrupted evaluation, and returns the content of ``result.json``.

    A finished evaluation with the same settings returns its stored result. Raises ConfigError before any weight is
    loaded if something cannot work.
    """
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
    validate(config)
    folder = Path(config.output_dir)
    plain = plain_config(config)
    parts = _build(config)
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


@dataclass(slots=True)
class _Parts:
    source: Any
    template: BoundTemplate
    engine: RolloutEngine
    settings: EvaluationSettings
    sets: list[EvaluationSet]
    train: ProblemSet | None  # for models that start with a supervised phase


def _build(config: DictConfig) -> _Parts:
    """All that needs no weights; raises ConfigError with the setting to change."""
    given = config.evaluation
    if given.batch_problems < 1 or given.resamples < 1:
        raise ConfigError(
            f"evaluation.batch_problems={given.batch_problems} and evaluation.resamples={given.resamples} must be 1 or "
            "more"
        )
    try:
        settings = EvaluationSettings(
            samples=given.samples,
            max_new_tokens=config.rollout.max_new_tokens,
            temperature=given.temperature,
            top_p=config.rollout.top_p,
            top_k=config.rollout.top_k,
            limit=given.limit,
            seed=given.seed,
        )
        engine = instantiate(config.rollout.engine, _convert_="all")
        source = instantiate(config.model, _convert_="all")
        source.check()
        template = instantiate(config.template, _convert_="all").bind(source.tokenizer())
        held_out = train = None
        if config.eval.held_out or source.warm_start is not None:
            if config.get("dataset") is None:
                raise ConfigError("this model is warm-started on a data set; type dataset=...")
            splits = instantiate(config.dataset, _convert_="all")
            held_out, train = splits.held_out, splits.warm_start
        if source.warm_start is not None and train is None:
            raise ConfigError("this model is warm-started on training problems, and this data set has none")
        if config.eval.held_out and held_out is None:
            raise ConfigError("this data set holds out no problems; choose another with dataset=, or eval=math_suite")
        needed = config.eval.held_out or (
            config.eval.reward is None and set(config.eval.sets) - set(config.eval.rewards)
        )
        reward = instantiate(config.reward, _convert_="all") if needed else None
        sets = build_evaluation_sets(config.eval, reward)
        if config.eval.held_out and held_out is not None and reward is not None:
            require_judgeable(reward, held_out)
            sets.insert(0, EvaluationSet("held_out", held_out, reward))
    except InstantiationException as fault:
        raise ConfigError(first_cause(fault)) from fault
    return _Parts(source, template, engine, settings, sets, train)


def _evaluate(config: DictConfig, parts: _Parts, record: RunRecord, console: Console) -> dict[str, Any]:
    begun = time.perf_counter()
    quieten()
    torch.set_num_threads(1)
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
            known = log.load(evaluated)
            rows = chosen_rows(evaluated.problems, parts.settings.limit)
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
            result["sets"][evaluated.name] = set_result(
                evaluated, completions, parts.settings, resamples=config.evaluation.resamples
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
    if accelerator not in ("auto", "cpu", "cuda", "gpu", "mps"):
        raise ConfigError(f"trainer.accelerator={accelerator!r} is unknown; use auto, cpu, cuda or mps")
    if accelerator == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device("cuda" if accelerator == "gpu" else accelerator)


def _require_same_weights(record: RunRecord, policy: Policy) -> None:
    """Completions of two models must not be counted together."""
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
