import numpy as np
import pytest

from gainrl.curricula.bandit import BanditCurriculum
from gainrl.curricula.pool import PromptPool
from tests.curricula.simulated import group, report

SOURCES = np.array(["math/train/hard", "gsm8k/easy", "hard", "easy"] * 10, object)


def started(**settings) -> tuple[BanditCurriculum, PromptPool]:
    curriculum, pool = BanditCurriculum(**settings), PromptPool(40, 4, 5, 10, 8, column=lambda name: SOURCES)
    curriculum.start(pool, None, 0)
    return curriculum, pool


def values(curriculum: BanditCurriculum) -> dict[str, float]:
    curriculum.propose(4)
    return {name: curriculum.metrics()[f"value/source_{name}"] for name in ("easy", "hard")}


def test_sec_follows_the_mean_absolute_advantage_of_each_source():
    curriculum, pool = started(rule="sec", alpha=0.5)
    report(curriculum, pool, [group(0, 4), group(2, 8), group(1, 1)])  # hard: |A| = 1 and 0; easy: 2 sqrt(7/64)
    assert values(curriculum) == pytest.approx({"hard": 0.25, "easy": 0.330719}, abs=1e-6)
    report(curriculum, pool, [group(0, 4)])
    assert values(curriculum) == pytest.approx({"hard": 0.625, "easy": 0.330719}, abs=1e-6)


def test_dump_adds_a_bonus_for_sources_that_were_seen_less():
    curriculum, pool = started(rule="dump")
    report(curriculum, pool, [group(0, 4), group(2, 4), group(1, 8)])  # 16 completions of |A| = 1, 8 of 0
    found = values(curriculum)
    assert found["hard"] == pytest.approx(1 + np.sqrt(2 * np.log(25) / 17))
    assert found["easy"] == pytest.approx(np.sqrt(2 * np.log(25) / 9))


def test_tscl_values_change_of_the_pass_rate_in_either_direction():
    curriculum, pool = started(rule="tscl", alpha=0.5)
    report(curriculum, pool, [group(0, 2), group(1, 6)])
    assert values(curriculum) == {"hard": 0, "easy": 0}  # nothing to compare with yet
    report(curriculum, pool, [group(0, 6)])  # .25 to .75
    assert values(curriculum) == {"hard": 0.25, "easy": 0}
    report(curriculum, pool, [group(1, 2), group(2, 6)])  # easy was .75 two steps ago: -.5; hard stays
    assert values(curriculum) == {"hard": 0.125, "easy": 0.25}


def test_slots_follow_the_softmax_and_the_uniform_share():
    curriculum, pool = started(alpha=1.0, temperature=0.1, uniform=0.2)
    report(curriculum, pool, [group(0, 4), group(1, 0)])
    curriculum.propose(4)
    chance = 0.8 / (1 + np.exp(-10)) + 0.1
    assert curriculum.metrics()["probability/source_hard"] == pytest.approx(chance)
    rows = np.concatenate([curriculum.propose(4) for _ in range(200)])
    assert np.mean(rows % 2 == 0) == pytest.approx(chance, abs=0.04)


@pytest.mark.parametrize("sources", [None, np.array(["gsm8k/train"] * 4, object)])
def test_data_of_one_source_is_refused(sources):
    with pytest.raises(ValueError, match="type dataset=mixture with several data sets"):
        BanditCurriculum().start(PromptPool(4, 2, 5, 10, 8, column=lambda name: sources), None, 0)
