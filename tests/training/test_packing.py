import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gainrl.training.batching import pack_by_tokens


def test_the_longest_rows_share_a_micro_batch():
    packed = pack_by_tokens(torch.tensor([2, 5, 3, 5]), token_budget=10)
    assert [rows.tolist() for rows in packed] == [[1, 3], [2, 0]]


@given(lengths=st.lists(st.integers(0, 50), max_size=40), budget=st.integers(1, 120))
def test_every_row_runs_once_and_no_micro_batch_exceeds_the_budget(lengths, budget):
    packed = pack_by_tokens(torch.tensor(lengths, dtype=torch.int64), budget)
    assert sorted(row for rows in packed for row in rows.tolist()) == list(range(len(lengths)))
    for rows in packed:
        padded = len(rows) * max(lengths[row] for row in rows.tolist())
        assert padded <= budget or len(rows) == 1


def test_a_budget_without_room_is_refused():
    with pytest.raises(ValueError, match="token_budget=0"):
        pack_by_tokens(torch.tensor([1]), 0)


def test_rows_of_a_prompt_stay_together_and_pay_for_it_once():
    # Prompts of 4 tokens; rows of 3, 3 | 5, 1 | 2, 2. The group with the longest row comes first: 2 x 5 + 4 = 14.
    lengths, groups = torch.tensor([3, 3, 5, 1, 2, 2]), torch.tensor([0, 0, 1, 1, 2, 2])
    packed = pack_by_tokens(lengths, 20, groups, torch.tensor([4, 4, 4]))
    assert [rows.tolist() for rows in packed] == [[2, 3], [0, 1, 4, 5]]  # 4 x 3 + 2 x 4 = 20


def test_only_a_group_beyond_the_budget_is_split():
    packed = pack_by_tokens(torch.tensor([3, 3, 3]), 10, torch.tensor([0, 0, 0]), torch.tensor([4]))
    assert [rows.tolist() for rows in packed] == [[0, 1], [2]]


@given(
    groups=st.lists(st.integers(0, 5), max_size=30),
    prompt_lengths=st.lists(st.integers(1, 30), min_size=6, max_size=6),
    budget=st.integers(1, 200),
    seed=st.integers(0, 5),
)
def test_groups_keep_within_the_budget(groups, prompt_lengths, budget, seed):
    lengths = torch.randint(0, 20, (len(groups),), generator=torch.Generator().manual_seed(seed))
    packed = pack_by_tokens(lengths, budget, torch.tensor(groups, dtype=torch.int64), torch.tensor(prompt_lengths))
    assert sorted(row for rows in packed for row in rows.tolist()) == list(range(len(groups)))
    for rows in (batch.tolist() for batch in packed):
        prompts = {groups[row] for row in rows}
        widest = max(max(1, int(lengths[row])) for row in rows)
        padded = len(rows) * widest + len(prompts) * max(prompt_lengths[prompt] for prompt in prompts)
        assert padded <= budget or len(rows) == 1


def test_groups_need_the_lengths_of_their_prompts():
    with pytest.raises(ValueError, match="belong together"):
        pack_by_tokens(torch.tensor([1]), 4, groups=torch.tensor([0]))
