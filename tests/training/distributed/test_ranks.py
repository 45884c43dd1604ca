"""What the ranks of one run share and agree on; whole runs are in tests/app/test_several_processes.py."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gainrl.training.batching import MiniBatch, within_memory
from gainrl.training.distributed.ranks import OtherRankFailed, Ranks
from gainrl.training.distributed.shares import in_shares
from gainrl.types import FinishReason, Judgement, PromptBatch, PromptTokens, Rollout, Verdict
from tests.training.test_batching import experience_of, plan
from tests.training.threads import meet


def test_alone_everything_is_the_identity():
    ranks, items = Ranks(), [3, 1, 2]
    parameter = torch.nn.Parameter(torch.ones(1))
    ranks.sum_gradients([parameter])
    assert ranks.leads
    assert ranks.share(items) is items
    assert ranks.gather("x") == ["x"]
    assert ranks.map(lambda some: [item + 1 for item in some], items) == [4, 2, 3]
    assert ranks.sum(torch.tensor(2.0)) == 2
    assert (ranks.first(lambda: 7), ranks.in_turn(lambda: 8)) == (7, 8)
    assert parameter.grad is None


@settings(deadline=None, max_examples=25)
@given(count=st.integers(0, 9), size=st.integers(1, 4))
def test_every_rank_gets_all_results_in_the_order_of_the_items(count, size):
    items = list(range(10, 10 + count))
    asked = []

    def work(some):
        asked.extend(some)
        return [item * item for item in some]

    results = meet(size, lambda ranks: list(ranks.map(work, items)))
    assert results == [[item * item for item in items]] * size
    assert sorted(asked) == items  # each by one rank


def completions(batch: PromptBatch) -> tuple[Rollout, list[str], list[Verdict]]:
    """Two completions of each prompt, of lengths that differ between prompts: row r has tokens r, r, ..."""
    lengths = torch.tensor([1 + (int(row) + g) % 4 for row in batch.rows for g in range(2)])
    values = torch.tensor([10 * int(row) + g for row in batch.rows for g in range(2)])
    ids = torch.zeros(len(lengths), int(lengths.max()), dtype=torch.int64)
    for place, length in enumerate(lengths.tolist()):
        ids[place, :length] = values[place]
    reasons = [FinishReason.STOP if value % 3 else FinishReason.LENGTH for value in values.tolist()]
    texts = [f"text {value}" for value in values.tolist()]
    verdicts = [Verdict(Judgement.CORRECT, float(value)) for value in values.tolist()]
    return Rollout(batch.prompts, 2, ids, lengths, reasons), texts, verdicts


@settings(deadline=None, max_examples=25)
@given(rows=st.lists(st.integers(1, 50), min_size=1, max_size=7, unique=True), size=st.integers(1, 3))
def test_a_round_in_shares_is_the_round_in_the_order_of_its_prompts(rows, size):
    prompts = [PromptTokens((row,), {"question": (0, 1)}) for row in rows]
    batch = PromptBatch(np.array(rows), [f"problem {row}" for row in rows], prompts)  # type: ignore[arg-type]
    whole, texts, verdicts = completions(batch)
    for rollout, some_texts, some_verdicts in meet(size, lambda ranks: in_shares(completions, batch, ranks, 0)):
        assert torch.equal(rollout.completion_ids, whole.completion_ids)
        assert torch.equal(rollout.lengths, whole.lengths)
        assert (rollout.prompts, rollout.finish_reasons) == (prompts, whole.finish_reasons)
        assert (some_texts, some_verdicts) == (texts, verdicts)


def test_what_fails_on_the_first_rank_fails_on_all():
    def work(ranks):
        def act():
            raise OSError("no space left")

        ranks.first(act)

    own, *others = meet(3, work)
    assert isinstance(own, OSError)
    assert all(isinstance(other, OtherRankFailed) and "OSError: no space left" in str(other) for other in others)


def test_the_first_rank_leaves_what_the_others_find(tmp_path):
    made = []

    def load():
        path = tmp_path / "weights"
        if not path.exists():
            made.append(1)
            path.write_text("w")
        return path.read_text()

    assert meet(3, lambda ranks: ranks.in_turn(load)) == ["w"] * 3
    assert made == [1]


def test_ranks_that_see_other_files_are_told_so():
    assert meet(2, lambda ranks: ranks.agree("weights", {"a": 1})) == [None, None]
    faults = meet(2, lambda ranks: ranks.agree("weights", ranks.rank))
    assert all("differ in weights" in str(fault) and "all nodes can read" in str(fault) for fault in faults)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_ranks_learn_from_all_groups_each_in_one_place_the_longest_dealt_out_first(size):
    texts = ["1<end>", "2<end>", "333<end>", "3<end>", "4<end>", "4<end>", "55<end>", "5<end>"]  # 4, 6, 4, 5 tokens
    experience = experience_of(*texts)
    advantages = [1, -1, 1, -1, 1, 0, 1, -1]
    plans = meet(size, lambda ranks: plan(experience, advantages, [0, 1, 2, 3], minibatch_prompts=4, ranks=ranks))
    shares = [sorted(row for rows in one[0].micro_batches for row in rows.tolist()) for one in plans]
    assert sorted(row for share in shares for row in share) == plans[0][0].rows.tolist() == [0, 1, 2, 3, 4, 6, 7]
    assert {one[0].normalizer for one in plans} == {plans[0][0].normalizer}
    expected = {1: [[0, 1, 2, 3, 4, 6, 7]], 2: [[0, 1, 2, 3], [4, 6, 7]], 3: [[2, 3, 4], [6, 7], [0, 1]]}
    assert shares == expected[size]


def test_when_one_rank_runs_out_of_memory_all_begin_again_in_smaller_parts():
    def work(ranks):
        batch = MiniBatch(torch.arange(4), [torch.arange(4)], None)  # type: ignore[arg-type]
        forgotten = []

        def attempt():
            if ranks.rank == 1 and len(batch.micro_batches) == 1:
                raise torch.OutOfMemoryError
            return [rows.tolist() for rows in batch.micro_batches]

        return within_memory(attempt, batch, forgotten.append, ranks), forgotten

    assert meet(2, work) == [([[0, 1], [2, 3]], [1])] * 2


def test_when_a_single_completion_does_not_fit_one_rank_all_stop():
    def work(ranks):
        batch = MiniBatch(torch.arange(4), [torch.arange(4) if ranks.rank == 0 else torch.arange(1)], None)  # type: ignore[arg-type]

        def attempt():
            if ranks.rank == 1:
                raise torch.OutOfMemoryError

        within_memory(attempt, batch, lambda retries: None, ranks)

    faults = meet(2, work)
    assert all(isinstance(fault, torch.OutOfMemoryError) and "on rank 1" in str(fault) for fault in faults)
