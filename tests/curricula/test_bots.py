"""BOTS (arXiv 2510.26374) as an option of MoPPS: beliefs about prompts that a step did not hold."""

import numpy as np
import pytest

from gainrl.curricula.anchors import Capability, read_pass_rates
from gainrl.curricula.mopps import MoPPSCurriculum
from gainrl.curricula.pool import PromptPool
from gainrl.types import SignalScores
from tests.curricula.simulated import group, report

IDS = np.array(["a", "b", "c", "d"])


def table(folder, rates, name="strong.csv"):
    path = folder / name
    lines = [f"{one},{'' if rate is None else rate}" for one, rate in zip(IDS, rates, strict=True)]
    path.write_text("id,pass_rate\n" + "\n".join(lines) + "\n")
    return str(path)


def started(strong: str, signal: SignalScores | None, **settings) -> tuple[MoPPSCurriculum, PromptPool]:
    pool = PromptPool(4, 2, 5, 10, 8, column=lambda name: IDS)
    curriculum = MoPPSCurriculum(**{"factor": None, "memory": 0.8, "implicit": 0.2, "strong": strong} | settings)
    curriculum.start(pool, signal, 0)
    return curriculum, pool


def beliefs(curriculum: MoPPSCurriculum) -> list[list[float]]:
    curriculum.propose(2)  # what a step showed counts when the next one begins
    return curriculum._beliefs.T.tolist()


def test_others_learn_from_where_the_policy_stands_between_its_anchors(tmp_path):
    weak = SignalScores("pass_rate", np.array([0.0, 0.25, 0.5, 0.0]), "high")
    curriculum, pool = started(table(tmp_path, [0.5, 0.75, 1.0, 1.0]), weak)
    # means over rows 0 and 1: weak 1/8, strong 5/8, the policy 3/8: half way
    report(curriculum, pool, [group(0, 2), group(1, 4)])
    # row 2: between .5 and 1 half way is .75; row 3: .5; each counts as .2 * 8 = 1.6 completions
    assert np.array(beliefs(curriculum)) == pytest.approx(
        np.array([[0.8 + 0.2 + 2, 0.8 + 0.2 + 6], [1 + 4, 1 + 4], [1 + 1.2, 1 + 0.4], [1 + 0.8, 1 + 0.8]])
    )
    assert curriculum.metrics()["capability"] == pytest.approx(0.5)
    # now 1 of them all: (1 - 1/8) / (1/2) = 1.75, and .9 * .5 + .1 * 1.75 = .625; row 3: .625
    report(curriculum, pool, [group(0, 8), group(1, 8)])
    assert beliefs(curriculum)[3] == pytest.approx([0.8 * 1.8 + 0.2 + 1.6 * 0.625, 0.8 * 1.8 + 0.2 + 1.6 * 0.375])


def test_a_prediction_is_never_below_zero_or_above_one():
    capability = Capability(np.array([0.2, 0.5]), np.array([0.4, 0.9]), 0.9)
    capability.learn(np.array([0]), np.array([1.0]))
    assert capability.value == pytest.approx(4.0)
    assert capability.predictions().tolist() == pytest.approx([1.0, 1.0])


def test_prompts_that_an_anchor_lacks_only_forget(tmp_path):
    weak = SignalScores("pass_rate", np.array([0.0, 0.0, 0.0, np.nan]), "high")
    curriculum, pool = started(table(tmp_path, [1, 1, None, 1]), weak)
    report(curriculum, pool, [group(2, 8), group(0, 4)])
    found = beliefs(curriculum)
    assert curriculum.metrics()["capability"] == pytest.approx(0.5)  # of row 0 alone
    assert found == [pytest.approx(row) for row in ([5, 5], [1.8, 1.8], [9, 1], [1, 1])]


def test_equal_anchors_say_nothing_of_the_policy(tmp_path):
    weak = SignalScores("pass_rate", np.full(4, 0.5), "high")
    curriculum, pool = started(table(tmp_path, [0.5] * 4), weak)
    report(curriculum, pool, [group(0, 2)])
    assert beliefs(curriculum)[1] == [1, 1]


def test_both_anchors_can_be_tables(tmp_path):
    weak = table(tmp_path, [0, 0.25, 0.5, 0], "weak.csv")
    curriculum, _ = started(table(tmp_path, [0.5, 0.75, 1, 1]), None, weak=weak)
    assert curriculum._capability.weak_N.tolist() == [0, 0.25, 0.5, 0]


def test_anchors_that_cannot_be_had_are_refused_with_what_to_type(tmp_path):
    ids, strong = IDS, table(tmp_path, [1, 1, 1, 1])
    other, broken = tmp_path / "other.csv", tmp_path / "broken.csv"
    other.write_text("id,angle\na,1\n")
    broken.write_text("id,pass_rate\na,high\n")
    for file, text in (
        ("nowhere.csv", "is no file"),
        (str(other), "it has no column 'pass_rate'"),
        (str(broken), "could not convert string to float: 'high'"),
    ):
        with pytest.raises(ValueError, match=text) as refused:
            read_pass_rates("curriculum.strong", file, ids)
        assert "gainrl-rank signal=pass_rate table=csv" in str(refused.value)
    with pytest.raises(ValueError, match="for none of the 1 training problems, whose ids are like 'z'"):
        read_pass_rates("curriculum.strong", strong, np.array(["z"]))
    with pytest.raises(ValueError, match=r"curriculum\.strong names none"):
        started(None, None)
    with pytest.raises(ValueError, match=r"signal is angle: type signal=pass_rate, or curriculum\.weak="):
        started(strong, SignalScores("angle", np.zeros(4)))
    with pytest.raises(ValueError, match=r"do nothing at curriculum\.implicit=0"):
        MoPPSCurriculum(strong=strong)
