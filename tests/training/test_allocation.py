"""Steps whose prompts get different numbers of completions, in one round or several."""

import json

import numpy as np
import pytest
import torch

from gainrl.allocation.fixed import FixedAllocation
from gainrl.allocation.knapsack import KnapsackAllocation
from gainrl.allocation.speed import SPEEDAllocation
from gainrl.functional.advantages import AdvantageSettings
from gainrl.training.callbacks import Records
from gainrl.training.rounds import checked_counts
from gainrl.training.upkeep.nonfinite import NonfiniteGuard, read_bundle
from gainrl.types import FinishReason
from tests.training.rig import RecordingEngine, ScriptedEngine, data_of, fit, logged, module_of, refresh_of, weights


class Rounds:
    """The counts that a test gives: one list of them for each round of a step."""

    def __init__(self, *rounds):
        self.rounds = [np.array(counts) for counts in rounds]

    def plan(self, prospects):
        self.left, self.prospects = list(self.rounds[1:]), prospects
        return self.rounds[0]

    def more(self, groups, left):
        return self.left.pop(0) if self.left else np.zeros(len(groups), np.int64)


def run(allocation=None, *, steps: int = 3, **settings):
    module = module_of(allocation=allocation, **settings)
    fit(module, data_of(module, steps=steps))
    return module


def same(one, other) -> bool:
    left, right = weights(one), weights(other)
    return all(torch.equal(left[name], right[name]) for name in left)


def test_equal_counts_are_the_plain_run_in_every_bit():
    plain = run()
    for allocation in (FixedAllocation(), Rounds([4] * 4)):
        assert same(run(allocation), plain)


def test_a_second_round_goes_on_where_the_first_one_ended():
    plain, twice = run(steps=1), run(Rounds([1] * 4, [3] * 4), steps=1)
    assert twice.experience.texts == plain.experience.texts
    assert torch.equal(twice.experience.completion_ids, plain.experience.completion_ids)
    assert twice.advantages_B.tolist() == plain.advantages_B.tolist()
    thrice = run(Rounds([1, 2, 3, 4], [3, 1, 0, 0], [0, 1, 1, 0]), steps=1)
    assert thrice.experience.texts == plain.experience.texts
    assert thrice.experience.sizes == [4] * 4


def test_the_first_completions_of_a_prompt_are_the_same_however_many_follow():
    plain, uneven = run(steps=1), run(Rounds([2, 6, 3, 5]), steps=1)
    assert uneven.experience.sizes == [2, 6, 3, 5]
    assert len(uneven.experience.texts) == 16 == uneven.counters.rollouts
    for prompt in range(4):
        mine = [uneven.experience.texts[row] for row in uneven.experience.rows_of(prompt)]
        theirs = [plain.experience.texts[row] for row in plain.experience.rows_of(prompt)]
        shared = min(len(mine), len(theirs))
        assert mine[:shared] == theirs[:shared]
    assert uneven.experience.owners.tolist() == [0] * 2 + [1] * 6 + [2] * 3 + [3] * 5


def test_advantages_and_updates_follow_the_groups_that_there_are():
    module = run(Rounds([2, 6, 3, 5]), steps=1)
    rewards = np.array([verdict.value for verdict in module.experience.verdicts])
    expected = []
    for prompt in range(4):
        group = rewards[list(module.experience.rows_of(prompt))]
        spread = group.std(ddof=1) + 1e-4
        expected += ((group - group.mean()) / spread if np.ptp(group) else 0 * group).tolist()
    assert module.advantages_B.tolist() == pytest.approx(expected, abs=1e-6)
    assert any(expected)
    assert module.counters.updates == 1


@pytest.mark.parametrize("tokens", [1, 20, 16384])
def test_micro_batches_change_memory_and_not_the_step(tokens):
    whole = run(Rounds([2, 6, 3, 5]), steps=1)
    parts = run(Rounds([2, 6, 3, 5]), steps=1, micro_batch_tokens=tokens)
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], value, rtol=1e-4, atol=1e-6)


def test_a_group_of_one_is_legal_where_nothing_is_compared():
    module = run(
        Rounds([1, 7, 4, 4]), steps=1, advantage=AdvantageSettings(baseline="none", scale="none"), objective={}
    )
    values = [verdict.value for verdict in module.experience.verdicts]
    assert module.advantages_B.tolist() == pytest.approx(values)


def test_prompts_that_are_alike_share_a_call_of_the_engine():
    engine = RecordingEngine()
    run(Rounds([2, 6, 2, 6]), steps=1, engine=engine)
    assert [(rollout.group_size, len(rollout.prompts)) for rollout in engine.rollouts] == [(2, 2), (6, 2)]


def test_an_allocation_knows_the_pass_rates_of_earlier_visits():
    allocation = Rounds([4] * 4)
    module = module_of(allocation=allocation, reward=type("Right", (), {"score": right})())
    data = data_of(module, steps=5)  # the second pass over 16 prompts begins with the fifth step
    fit(module, data)
    assert allocation.prospects.rates.tolist() == pytest.approx([5 / 6] * 4)  # 4 of 4, and one of each more
    assert (allocation.prospects.budget, allocation.prospects.group_size) == (16, 4)
    assert data.pool.history.expected_rates(np.array([0]), 4).tolist() == pytest.approx([5 / 6])


def right(self, completions, problems):
    from gainrl.types import Judgement, Verdict

    return [Verdict(Judgement.CORRECT, 1.0) for _ in completions]


def test_speed_draws_the_rest_of_a_group_only_where_outcomes_are_mixed():
    module = run(SPEEDAllocation(screen=2, most=8), steps=1)
    groups = module.experience.groups
    screened = [group.correct[:2] for group in groups]
    mixed = [bool(first.any() and not first.all()) for first in screened]
    assert any(mixed)
    assert not all(mixed)
    for group, was_mixed in zip(groups, mixed, strict=True):
        assert len(group.correct) > 2 if was_mixed else len(group.correct) == 2
    metrics = logged(module)
    assert metrics["allocation/smallest_group"] == 2
    assert metrics["allocation/unspent_rollouts"] == 16 - sum(module.experience.sizes)
    assert metrics["admission/rollouts"] == sum(module.experience.sizes)


def test_a_run_of_plain_groups_logs_nothing_of_allocations():
    assert not any(name.startswith("allocation/") for name in logged(run(steps=1)))


def test_records_hold_every_completion_under_its_prompt(tmp_path):
    module = module_of(allocation=Rounds([2, 6, 3, 5]))
    values = np.arange(16.0)
    fit(module, data_of(module, steps=1), [refresh_of(tmp_path, values), Records(folder=tmp_path)])
    lines = [json.loads(line) for line in (tmp_path / "rollouts.jsonl").read_text().splitlines()]
    assert [line["row"] for line in lines] == np.repeat(module.experience.pool_rows, [2, 6, 3, 5]).tolist()
    assert [line["completion"] for line in lines] == module.experience.texts
    assert [line["advantage"] for line in lines] == module.advantages_B.tolist()


def test_an_update_that_is_not_finite_is_kept_with_its_groups(tmp_path):
    path = tmp_path / "bundle.pt"
    module = module_of(allocation=Rounds([2, 6, 3, 5]), guard=NonfiniteGuard(limit=5, bundle=path), lr=1e38)
    with pytest.warns(UserWarning, match="was skipped"):
        fit(module, data_of(module, steps=4))
    assert read_bundle(path).update.experience.sizes == [2, 6, 3, 5]


def test_completions_of_rounds_of_different_width_keep_their_tokens():
    module = run(Rounds([1, 3, 2, 2], [3, 1, 2, 2]), steps=1, engine=ScriptedEngine("1<end>", "22<end>", "3", "4444"))
    experience = module.experience
    assert experience.sizes == [4] * 4
    for row, length in enumerate(experience.lengths.tolist()):
        ids = experience.completion_ids[row]
        assert (ids[length:] == module.policy.pad_id).all()
        cut = experience.truncated[row].item()
        assert cut == (int(ids[length - 1]) not in module.policy.stop_ids)


def test_counts_that_cannot_be_drawn_are_refused():
    for counts, text in (([1, 2], "for 3 prompts"), ([1, 0, 2], "1 or more"), ([1.5, 1, 1], "whole number")):
        with pytest.raises(ValueError, match=text):
            checked_counts(np.array(counts), 3, 9, least=1)
    with pytest.raises(ValueError, match="9 completions where 8 are left"):
        checked_counts(np.array([3, 3, 3]), 3, 8, least=1)


def test_hard_prompts_get_more_once_they_have_been_seen():
    def score(self, completions, problems):
        from gainrl.types import Judgement, Verdict

        good = [int(problem.id.rpartition("-")[2]) % 2 == 0 for problem in problems]
        return [Verdict(Judgement.CORRECT if g else Judgement.WRONG, float(g)) for g in good]

    module = module_of(allocation=KnapsackAllocation(), reward=type("Half", (), {"score": score})())
    fit(module, data_of(module, steps=5))
    sizes = dict(zip([problem.id for problem in module.experience.problems], module.experience.sizes, strict=True))
    solved = [size for name, size in sizes.items() if int(name.rpartition("-")[2]) % 2 == 0]
    failed = [size for name, size in sizes.items() if int(name.rpartition("-")[2]) % 2]
    assert sum(sizes.values()) == 16
    assert solved
    assert failed
    assert min(failed) > max(solved)


def test_reasons_of_finishing_follow_their_completions():
    module = run(Rounds([1, 3, 2, 2], [1, 0, 1, 1]), steps=1)
    for row, cut in enumerate(module.experience.truncated.tolist()):
        last = int(module.experience.completion_ids[row][int(module.experience.lengths[row]) - 1])
        assert (FinishReason.LENGTH if cut else FinishReason.STOP) == (
            FinishReason.STOP if last in module.policy.stop_ids else FinishReason.LENGTH
        )
