import torch

from gainrl.functional.objectives import Objective
from gainrl.training.batching import plan_minibatches, trainable_rows
from gainrl.training.collection import Experience, outcomes
from gainrl.types import Judgement, Verdict
from tests.training.rig import data_of, module_of, rollout_of


def experience_of(*texts, group_size=2):
    module = module_of()
    data = data_of(module)
    experience = Experience(group_size, module.policy.pad_id)
    batch = data.batch(list(range(len(texts) // group_size)))
    rollout = rollout_of(module.policy, batch.prompts, group_size, texts)
    verdicts = [Verdict(Judgement.CORRECT, 1.0) for _ in texts]
    groups = outcomes(
        batch,
        rollout,
        verdicts,
        torch.ones(len(texts)).numpy(),
        step=0,
    )
    experience.add(batch, rollout, list(texts), verdicts, groups)
    return experience


def test_only_rows_with_an_advantage_and_a_token_have_a_gradient():
    advantages = torch.tensor([[1.0, 1.0], [0.0, 0.0], [-1.0, 0.0], [2.0, 2.0]])
    mask = torch.tensor([[True, True], [True, True], [True, False], [False, False]])
    assert trainable_rows(advantages, mask, Objective()).tolist() == [0, 2]


def test_a_kl_in_the_loss_or_an_entropy_bonus_gives_every_row_a_gradient():
    advantages, mask = torch.zeros(2, 1), torch.ones(2, 1, dtype=torch.bool)
    assert trainable_rows(advantages, mask, Objective(beta=0.1)).tolist() == [0, 1]
    assert trainable_rows(advantages, mask, Objective(entropy_coefficient=0.1)).tolist() == [0, 1]
    assert trainable_rows(advantages, mask, Objective(beta=0.1, kl_placement="reward")).tolist() == []


def plan(experience, advantages, kept, **limits):
    limits = {"minibatch_prompts": 2, "micro_batch_size": None, "micro_batch_tokens": 1000, "max_tokens": 6} | limits
    width = experience.completion_ids.shape[1]
    mask = torch.arange(width)[None] < experience.lengths[:, None]
    return plan_minibatches(
        experience, kept, torch.tensor(advantages)[:, None].expand_as(mask).float(), mask, Objective(), **limits
    )


def test_minibatches_hold_the_kept_prompts_in_order_and_count_rows_without_a_gradient():
    experience = experience_of("1<end>", "22<end>", "3<end>", "4<end>", "5<end>", "66<end>", "7<end>", "8<end>")
    first, last = plan(experience, [1, -1, 0, 0, 1, -1, 1, -1], [0, 1, 3])
    assert first.rows.tolist() == [0, 1]
    assert (first.normalizer.sequences, first.normalizer.tokens) == (4, 2 + 3 + 2 + 2)
    assert last.rows.tolist() == [6, 7]
    assert (last.normalizer.sequences, last.normalizer.tokens) == (2, 4)


def test_microbatches_partition_the_rows_within_both_limits():
    experience = experience_of(*[f"{'9' * length}<end>" for length in (1, 2, 3, 4, 1, 2, 3, 4)])
    longest = max(map(len, experience.prompts))
    for limits, most in (
        ({"micro_batch_size": 3}, 3),
        ({"micro_batch_tokens": longest + 2 * 5}, 2),  # a prompt, and two completions of five tokens
        ({"micro_batch_tokens": 1}, 1),
    ):
        for batch in plan(experience, [1, -1] * 4, [0, 1, 2, 3], **limits):
            assert sorted(torch.cat(batch.micro_batches).tolist()) == batch.rows.tolist()
            assert max(len(rows) for rows in batch.micro_batches) == most


def test_a_minibatch_without_a_gradient_has_no_microbatch():
    (only,) = plan(experience_of("1<end>", "2<end>"), [0, 0], [0])
    assert only.micro_batches == []
    assert only.normalizer.sequences == 2
