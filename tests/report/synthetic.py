"""Run directories as training leaves them, with made-up curves."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import yaml


def write_run(
    root: Path,
    arm: str,
    seed: int,
    *,
    gain: float = 0.3,
    noise: float = 0.01,
    start: float = 0.3,
    steps: int = 40,
    every: int = 5,
    tokens_per_step: float = 6000.0,
    until: int | None = None,
    status: str = "finished",
    fault: str | None = None,
    held_out: int = 50,
    experiment: str | None = None,
    speed: float = 3.0,
    center: bool = False,
    levels: int = 4,
    screening: int = 0,
    base: int = 0,
    families: bool = False,
    problems: int = 0,
    informative: float = 0.6,
    gradient: float = 1.0,
) -> Path:
    """A run of ``baseline=<arm>`` whose accuracy rises from ``start`` by ``gain`` times 1 - exp(-speed t/T).

    ``screening``: candidates measured per step, by 4 rollouts each. ``base``: the seed of the model, which shifts all
    of its runs. ``families``: parts are called by names, not levels. ``problems``: verdicts of that many are recorded.
    ``informative``: share of groups with right and wrong completions. ``gradient``: its norm in every step.
    """
    name = f"baseline-{arm}" + (f",model.seed-{base}" if base else "")
    folder = root / (name if experiment is None else f"{experiment}/{name.removeprefix('baseline-')}") / f"s{seed}"
    folder.mkdir(parents=True)
    overrides = [f"baseline={arm}", f"seed={seed}"] + ([f"experiment={experiment}"] if experiment else [])
    overrides += [f"model.seed={base}"] if base else []
    config = {
        "seed": seed,
        "model": {"seed": base},
        "schedule": {"steps": steps, "prompts_per_step": 32},
        "algorithm": {"group_size": 8},
        "evaluation": {"every": every, "limit": None, "seed": 0, "temperature": 1.0},
        "dataset": {"_target_": "gainrl.datasets.arithmetic.arithmetic", "held_out_per_level": held_out},
        "curriculum": {"_target_": "gainrl.curricula.uniform.UniformCurriculum"},
        "run": {"arm": name, "experiment": experiment, "sweep": "curricula", "overrides": overrides},
    }
    if screening:
        config["signal"] = {"_target_": "gainrl.signals.pass_rate.PassRateSignal", "samples": 4}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    rng = np.random.default_rng([seed, base, *f"{arm}{experiment or ''}".encode()])
    seed_level = np.random.default_rng(seed).normal(0, 0.03) + 0.1 * base
    parts = [f"source_family_{place}" if families else f"level_{place}" for place in range(1, levels + 1)]
    marks = []
    rows = []
    for step in range((steps if until is None else until) + 1):
        row: dict[str, float] = {
            "step": step,
            "updates": step,
            "prompts_seen": 32 * step,
            "rollouts": 256 * step,
            "generated_tokens": int(tokens_per_step * step),
            "wall_seconds": 3.0 + 0.5 * step,
        }
        if step % every == 0:
            accuracy = start + seed_level + gain * (1 - np.exp(-speed * step / steps))
            accuracy += rng.normal(0, noise) if step else 0.0
            row["eval/accuracy"] = float(np.clip(accuracy, 0, 1))
            for level, part in enumerate(parts, 1):
                row[f"eval/accuracy/{part}"] = float(np.clip(accuracy + 0.1 * (2 - level), 0, 1))
            if problems:
                right = rng.random(problems) < accuracy
                row["eval/accuracy"] = float(right.mean())
                marks.append({"step": step, "verdicts": "".join("01"[mark] for mark in right.astype(int))})
        if step:
            row["accuracy"] = float(start + gain * step / steps)
            row["informative_groups"] = float(np.clip(informative + rng.normal(0, 0.05) * (informative > 0), 0, 1))
            row["grad_norm"] = gradient
            row["selection/distinct_prompts"] = min(32 * step, 700)
            weights = np.exp(-0.5 * (np.arange(levels) - levels * step / steps) ** 2) if center else np.ones(levels)
            for level in range(levels):
                row[f"selection/{parts[level]}"] = float(weights[level] / weights.sum())
            if screening:
                row["curriculum/prompts_measured"] = screening * step
            if center:
                row["curriculum/center_fraction"] = step / steps
        rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    with open(folder / "metrics.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
    if marks:
        (folder / "evaluations.jsonl").write_text("".join(f"{json.dumps(mark)}\n" for mark in marks))
    record: dict[str, object] = {"fingerprint": f"{arm}{seed}", "status": status, "git_commit": "0123456789abcdef"}
    if status == "finished":
        record |= {"objective": rows[-1].get("eval/accuracy"), "wall_seconds": rows[-1]["wall_seconds"] + 2}
    if fault:
        record["fault"] = fault
    (folder / "record.json").write_text(json.dumps(record))
    return folder


def write_plan(root: Path, params: dict[str, str], arguments: list[str]) -> None:
    """What a sweep of these parameters and arguments leaves beside its jobs."""
    naming = {"kv_sep": "-", "item_sep": ",", "exclude_keys": ["seed", "sweep", "logger"]}
    hydra = {
        "sweeper": {"params": params},
        "overrides": {"task": arguments},
        "job": {"config": {"override_dirname": naming}},
    }
    root.mkdir(parents=True, exist_ok=True)
    (root / "multirun.yaml").write_text(yaml.safe_dump({"hydra": hydra, "seed": 0}))
