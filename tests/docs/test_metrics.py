"""docs/metrics.md lists what runs log."""

import re
from pathlib import Path

import pytest

from gainrl.curricula.gain import GainCurriculum
from gainrl.curricula.pool import PromptPool
from gainrl.types import SignalScores

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


def documented() -> list[re.Pattern[str]]:
    """One pattern per name in the lists; names of curricula get their prefix."""
    patterns = []
    for section in PAGE.split("\n## ")[1:]:
        prefix = "curriculum/" if section.startswith("Curriculum") else ""
        for item in re.findall(r"^- (.*(?:\n  .*)*)", section, re.MULTILINE):
            names, _, meaning = item.partition(": ")
            for name in re.findall(r"`([^`]+)`", meaning if prefix else names):
                parts = [re.escape(part) for part in re.split(r"<\w+>", name)]
                patterns.append(re.compile(re.escape(prefix) + "[^/]+".join(parts)))
    return patterns


def is_documented(name: str) -> bool:
    return any(pattern.fullmatch(name) for pattern in documented())


@pytest.mark.parametrize(
    "name",
    [
        "step",
        "seconds/rollout",
        "eval/accuracy",
        "eval/accuracy/level_3",
        "eval/accuracy/source_chain_sum",
        "eval/pass@4/level_2",
        "eval/gsm8k/accuracy",
        "curriculum/ranks/tenth_7",
        "rewards/format/std",
        "verdicts/gold_unparsable",
    ],
)
def test_names_of_every_kind_are_found_in_the_page(name: str) -> None:
    assert is_documented(name)


@pytest.mark.parametrize("name", ["loss", "eval/f1", "curriculum/mu", "completions/length"])
def test_names_that_nothing_logs_are_not(name: str) -> None:
    assert not is_documented(name)


def test_all_metrics_of_the_paper_s_curriculum_are_documented() -> None:
    import numpy as np

    pool = PromptPool(size=40, prompts_per_step=4, steps_per_epoch=2, total_steps=8, group_size=4)
    curriculum = GainCurriculum(width=0.2, step_scale=0.1, alpha=2.0, beta=0.5, gamma=0.5)
    curriculum.start(pool, SignalScores("angle", np.arange(40.0)), seed=0)
    curriculum.propose(4)
    undocumented = [name for name in curriculum.metrics() if not is_documented(f"curriculum/{name}")]
    assert undocumented == []
