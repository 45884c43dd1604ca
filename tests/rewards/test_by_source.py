import pytest

from gainrl.rewards.by_source import RewardBySource
from gainrl.types import Judgement, Problem, Verdict


class Says:
    """Always the same value; remembers what it saw."""

    def __init__(self, value: float, *, uses_lengths: bool = False) -> None:
        self.value, self.uses_lengths, self.seen, self.closed = value, uses_lengths, [], False

    def score(self, completions, problems, **more):
        self.seen.append((list(completions), [problem.id for problem in problems], more))
        return [Verdict(Judgement.CORRECT, self.value) for _ in completions]

    def answer_key(self, completion):
        return completion

    def unjudgeable(self, problem):
        return "it is odd" if problem.id == "odd" else None

    def close(self):
        self.closed = True


class Silent(Says):
    answer_key = None


def problem(id: str, source: str) -> Problem:
    return Problem(id=id, question="?", reference_answer="1", source=source)


ROWS = [problem("p", "gsm8k/train/a"), problem("q", "b"), problem("r", "a"), problem("s", "math/c")]


def test_each_source_has_its_reward_and_verdicts_come_back_in_order():
    a, b = Says(1.0), Says(2.0, uses_lengths=True)
    reward = RewardBySource(rewards={"a": a, "b": b})
    verdicts = reward.score(["w", "x", "y", "z"], ROWS, lengths=[1, 2, 3, 4])
    assert [verdict.value for verdict in verdicts] == [1.0, 2.0, 1.0, 0.0]
    assert verdicts[3].judgement is Judgement.GOLD_UNPARSABLE
    assert a.seen == [(["w", "y"], ["p", "r"], {})]  # one call for all of a source
    assert b.seen == [(["x"], ["q"], {"lengths": [2]})]
    assert reward.uses_lengths
    assert not RewardBySource(rewards={"a": a}).uses_lengths


def test_other_judges_what_is_not_named_and_one_reward_for_two_sources_is_called_once():
    other = Says(3.0)
    reward = RewardBySource(rewards={"a": other}, other=other)
    assert [verdict.value for verdict in reward.score(list("wxyz"), ROWS)] == [3.0] * 4
    assert len(other.seen) == 1
    reward.close()
    assert other.closed


def test_a_source_without_a_reward_is_found_before_training():
    reward = RewardBySource(rewards={"a": Says(1.0)})
    assert "Type reward@reward.rewards.c=OPTION" in reward.unjudgeable(ROWS[3])
    with pytest.raises(ValueError, match="source 'c', only for a"):
        reward.check_sources(["gsm8k/train/a", "math/c", "a"])
    reward.check_sources(["gsm8k/train/a", "a"])
    assert reward.unjudgeable(ROWS[0]) is None
    assert reward.unjudgeable(problem("odd", "a")) == "it is odd"
    with pytest.raises(ValueError, match=r"reward\.rewards is empty"):
        RewardBySource(rewards={})


def test_votes_are_counted_where_all_rewards_read_answers_alike():
    assert RewardBySource(rewards={"a": Says(1.0), "b": Says(2.0)}).answer_key("7") == "7"
    assert RewardBySource(rewards={"a": Says(1.0), "b": Silent(2.0)}).answer_key is None
