import pytest

from gainrl.app.errors import ConfigError
from gainrl.app.reward_checks import require_judgeable
from gainrl.datasets.arrow import ArrowProblems
from gainrl.rewards.math import MathReward
from gainrl.rewards.references import final_part
from gainrl.types import Judgement, Problem

BOXED = r"We add the two numbers. First 2, then 3, which gives $\boxed{5}$ in all. So we are done."
HASHES = "Ann has 2 apples and buys 3 more.\nNow she has 2 + 3 = 5 of them.\n#### 5"
WORDS = "Ann has 2 apples and buys 3 more apples.\nNow she has 2 + 3 = 5 apples in her basket."


@pytest.mark.parametrize(
    ("reference", "final"),
    [
        (BOXED, "5"),
        (HASHES, "5"),
        (WORDS, None),
        ("5", "5"),
        (r" \frac{1}{2} ", r"\frac{1}{2}"),
        (r"n=\boxed {1,3}", "1,3"),
        (r"\boxed{2} or \boxed{3}", r"\boxed{2} or \boxed{3}"),
        (r"\boxed{2", r"\boxed{2"),  # never closed: left to the judge
        (r"a x+b, where b is an arbitrary integer and a is a positive integer",) * 2,
        ("\\begin{pmatrix} 0 & 3 \\\\\n0 & -1 \\end{pmatrix}",) * 2,
        (r"x = 1 \text{ if it is raining, and it always is. And } y = 2 \text{ otherwise, as we know well.}",) * 2,
        ("", ""),
    ],
)
def test_the_final_answer_of_a_reference(reference, final):
    assert final_part(reference) == final


def test_a_worked_solution_judges_by_its_final_answer():
    reward = MathReward(workers=1)
    for reference in (BOXED, HASHES):
        assert reward.judge(r"\boxed{5}", reference).correct
        assert reward.judge(r"\boxed{6}", reference).judgement is Judgement.WRONG


def test_a_worked_solution_without_one_excludes_its_completions():
    verdict = MathReward(workers=1).judge(r"\boxed{5}", WORDS)
    assert verdict.judgement is Judgement.GOLD_UNPARSABLE
    assert "one of many words without a final answer" in verdict.detail


def problems(*references):
    rows = [Problem(str(number), "?", reference) for number, reference in enumerate(references)]
    return ArrowProblems.from_problems(rows, name="mine")


def test_a_field_of_solutions_is_refused_with_the_option_that_names_another():
    reward = MathReward(workers=1)
    with pytest.raises(ConfigError, match=r"MathReward can judge nothing of mine\..*dataset\.answer=<field>"):
        require_judgeable(reward, problems(WORDS, WORDS))
    with pytest.raises(ConfigError, match="can judge 1 of the first 3 problems of mine"):
        require_judgeable(reward, problems("5", WORDS, WORDS))
    require_judgeable(reward, problems("5", WORDS))
