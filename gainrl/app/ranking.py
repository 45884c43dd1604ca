"""How the signals of a data set agree with each other: the numbers of the ``gainrl-rank`` report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gainrl.functional.association import Association, order_agreement, spearman
from gainrl.functional.streams import generator
from gainrl.signals.length import question_lengths
from gainrl.signals.protocol import Problems
from gainrl.signals.published import PublishedSignal
from gainrl.types import PromptTokens

FACTS = ("id", "level", "difficulty", "source", "question_tokens", "question_characters", "solution_lines")
_TARGETS = ("level", "difficulty", "solution_lines", "question_tokens", "pass_rate")


@dataclass(frozen=True, slots=True)
class Comparison:
    """How one signal goes with one target: over all problems, within levels or sources, and with length regressed out.

    Those within levels and sources are None where the problems have one level or one source only.
    """

    signal: str
    target: str
    overall: Association
    within_level: Association | None
    within_source: Association | None
    without_length: Association | None
    within_source_without_length: Association | None


@dataclass(frozen=True, slots=True)
class PublishedOrder:
    """A published order against question length. ``neighbours`` and ``first_tenth``: see `order_agreement`."""

    name: str
    problems: int
    length: Association
    characters: Association
    signal: Association
    neighbours: float
    first_tenth: float


def signal_table(problems: Problems, prompts: Sequence[PromptTokens], values: dict[str, np.ndarray]) -> pd.DataFrame:
    """One row per problem: `FACTS` that the data has, then the signals. Columns without any number are left out."""
    rows = [problems[row] for row in range(len(problems))]
    table = pd.DataFrame(
        {
            "id": [problem.id for problem in rows],
            "level": _numbers([problem.level for problem in rows]),
            "difficulty": _numbers([problem.difficulty for problem in rows]),
            "source": [problem.source for problem in rows],
            "question_tokens": question_lengths(prompts),
            "question_characters": [float(len(problem.question)) for problem in rows],
            "solution_lines": _numbers(
                [len(problem.solution.strip().splitlines()) if problem.solution else None for problem in rows]
            ),
        }
    )
    table = table.drop(columns=[name for name in ("level", "difficulty", "solution_lines") if table[name].isna().all()])
    if "solution_lines" in table and table["solution_lines"].nunique() == 1:
        table = table.drop(columns="solution_lines")
    if (
        "level" in table
        and "difficulty" in table
        and np.array_equal(table["level"], table["difficulty"], equal_nan=True)
    ):
        table = table.drop(columns="difficulty")  # one number under two names
    return table.assign(**values)


def signal_columns(table: pd.DataFrame) -> list[str]:
    return [name for name in table.columns if name not in FACTS]


def compare(table: pd.DataFrame, *, resamples: int, seed: int) -> list[Comparison]:
    """Every signal against every target that the table has."""
    groups = table["level"].to_numpy() if "level" in table else None
    sources = table["source"].to_numpy(str) if table["source"].nunique() > 1 else None
    length = table["question_tokens"].to_numpy()
    comparisons = []
    for signal in signal_columns(table):
        for target in _TARGETS:
            if target not in table or target == signal:
                continue
            x, y = table[signal].to_numpy(), table[target].to_numpy()

            def association(kind: str, signal=signal, target=target, x=x, y=y, **settings) -> Association:  # type: ignore[no-untyped-def]
                draws = generator(seed, "bootstrap", signal, target, kind)
                return spearman(x, y, resamples=resamples, generator=draws, **settings)

            comparisons.append(
                Comparison(
                    signal,
                    target,
                    association("overall"),
                    None if groups is None or target == "level" else association("within", groups=groups),
                    None if sources is None else association("within source", groups=sources),
                    None if target == "question_tokens" else association("length", covariate=length),
                    None
                    if sources is None or target == "question_tokens"
                    else association("length within source", groups=sources, covariate=length),
                )
            )
    return comparisons


def between_signals(table: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """Names and ``[S, S]`` Spearman correlations of the signals, difficulty and length."""
    names = [
        *signal_columns(table),
        *(name for name in _TARGETS if name in table and name not in signal_columns(table)),
    ]
    columns = [table[name].to_numpy() for name in names]
    return names, np.array([[spearman(x, y).value for y in columns] for x in columns])


def order_files(folder: Path, dataset: str) -> list[Path]:
    """The orders under ``folder`` whose file is named after ``dataset`` (``processed_gsm8k.pt`` for ``gsm8k_train``).

    Raises ValueError if there are none.
    """
    wanted = dataset.split("_")[0].split("-")[0].lower()
    files = [path for path in sorted(folder.rglob("*.pt")) if path.stem.split("_")[-1].lower() == wanted]
    if not files:
        raise ValueError(
            f"{folder} holds no order for {dataset!r} (a file such as processed_{wanted}.pt); "
            "set published to another folder, or to null."
        )
    return files


def published_orders(
    files: Sequence[Path], problems: Problems, table: pd.DataFrame, signal: str, *, resamples: int, seed: int
) -> list[PublishedOrder]:
    """How close each order is to a sort by length, and to one by ``signal``."""
    tokens = table["question_tokens"].to_numpy()
    orders = []
    for path in files:
        position = PublishedSignal(order=str(path)).compute(problems, [])

        def association(column: str, position: np.ndarray = position, name: str = path.parent.name) -> Association:
            draws = generator(seed, "bootstrap", name, column)
            return spearman(position, table[column].to_numpy(), resamples=resamples, generator=draws)

        neighbours, first_tenth = order_agreement(position, tokens)
        orders.append(
            PublishedOrder(
                name=f"{path.parent.name}/{path.name}",
                problems=int((~np.isnan(position)).sum()),
                length=association("question_tokens"),
                characters=association("question_characters"),
                signal=association(signal),
                neighbours=neighbours,
                first_tenth=first_tenth,
            )
        )
    return orders


def extremes(table: pd.DataFrame, signal: str, count: int = 10) -> tuple[list[int], list[int]]:
    """Rows of the ``count`` highest and lowest values of a signal, the most extreme first."""
    known = np.flatnonzero(~np.isnan(table[signal].to_numpy()))
    order = known[np.argsort(table[signal].to_numpy()[known], kind="stable")]
    return order[::-1][:count].tolist(), order[:count].tolist()


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else float(value) for value in values])
