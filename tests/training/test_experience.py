import numpy as np
import torch

from gainrl.training.collection import Experience, outcomes
from gainrl.training.metrics import experience_metrics
from gainrl.types import Judgement, Verdict
from tests.training.rig import data_of, module_of, rollout_of

CORRECT, WRONG, ERROR = (
    Verdict(j, v) for j, v in ((Judgement.CORRECT, 1.0), (Judgement.WRONG, 0.0), (Judgement.ERROR, 0.0))
)


def collected(*rounds):
    """Each round is a list of (text, verdict) with two completions per prompt."""
    module = module_of()
    data = data_of(module)
    experience = Experience(2, module.policy.pad_id)
    row = 0
    for completions in rounds:
        batch = data.batch(list(range(row, row + len(completions) // 2)))
        row += len(batch)
        texts, verdicts = zip(*completions, strict=True)
        rollout = rollout_of(module.policy, batch.prompts, 2, texts)
        groups = outcomes(
            batch,
            rollout,
            verdicts,
            np.array([verdict.value for verdict in verdicts]),
            step=3,
        )
        experience.add(batch, rollout, texts, verdicts, groups)
    return experience, module.policy.pad_id


def test_rounds_of_different_width_are_padded_to_the_widest():
    experience, pad = collected([("1<end>", CORRECT), ("2<end>", WRONG)], [("333<end>", CORRECT), ("4", WRONG)])
    assert experience.completion_ids.shape == (4, 4)
    assert (experience.completion_ids[:2, 2:] == pad).all()
    assert experience.lengths.tolist() == [2, 2, 4, 1]
    assert experience.truncated.tolist() == [False, False, False, True]
    assert experience.pool_rows == [0, 1]
    assert [problem.id for problem in experience.problems] == ["train-0", "train-1"]


def test_groups_carry_rewards_verdicts_and_validity():
    experience, _ = collected([("1<end>", CORRECT), ("2", WRONG), ("3<end>", ERROR), ("4<end>", CORRECT)])
    first, second = experience.groups
    assert (first.row, first.step, first.pass_rate, first.mixed) == (0, 3, 0.5, True)
    assert first.truncated.tolist() == [False, True]
    assert second.valid.tolist() == [False, True]
    assert (second.pass_rate, second.mixed) == (1.0, False)


def test_metrics_of_a_step_by_hand():
    experience, _ = collected(
        [
            ("1<end>", CORRECT),
            ("22", WRONG),
            ("3<end>", CORRECT),
            ("4<end>", CORRECT),
            ("5<end>", ERROR),
            ("6<end>", ERROR),
        ]
    )
    row = experience_metrics(experience, np.array([0.5, -0.5, 0, 0, 0, 0]))
    assert row["reward"] == (0.5 + 1.0) / 2  # mean over groups with a verdict
    assert np.isclose(row["reward_std"], (np.sqrt(0.5) + 0) / 2)
    assert row["accuracy"] == 3 / 4
    assert row["informative_groups"] == 1 / 3
    assert row["frac_reward_zero_std"] == 1 / 2
    assert np.isclose(row["mean_abs_advantage"], 1 / 6)
    assert (row["completions/min_length"], row["completions/mean_length"], row["completions/max_length"]) == (2, 2, 2)
    assert row["completions/clipped_ratio"] == 1 / 6
    assert row["excluded_completions"] == 2
    assert row["verdicts/correct"] == 3 / 6
    assert row["verdicts/error"] == 2 / 6
    assert "concentration" not in row
    assert sum(value for name, value in row.items() if name.startswith("verdicts/")) == 1


def test_components_of_a_reward_and_the_concentration_of_prompts_are_logged():
    experience, _ = collected(
        [
            ("1<end>", Verdict(Judgement.CORRECT, 1.0, {"format": 1.0})),
            ("2<end>", Verdict(Judgement.WRONG, 0.0, {"format": 0.0})),
        ]
    )
    row = experience_metrics(experience, np.zeros(2), np.array([0.25]))
    assert row["rewards/format/mean"] == 0.5
    assert row["concentration"] == 0.25


def test_deviations_of_components_are_those_of_a_sample():
    def verdict(value):
        return Verdict(Judgement.CORRECT, value, {"format": value})

    experience, _ = collected([("1<end>", verdict(0.0)), ("2<end>", verdict(1.0))])
    row = experience_metrics(experience, np.zeros(2))
    assert np.isclose(row["rewards/format/std"], np.sqrt(0.5))  # ddof 1: sqrt((0.25 + 0.25) / 1)
    alone, _ = collected([("1<end>", verdict(0.7)), ("2<end>", CORRECT)])
    assert experience_metrics(alone, np.zeros(2))["rewards/format/std"] == 0


def test_the_entropy_that_was_sampled_counts_every_real_token_once():
    experience, _ = collected([("1<end>", CORRECT), ("222<end>", WRONG)])
    experience.engine_logprobs = torch.tensor([[-1.0, -2.0, 9.0, 9.0], [-0.5, -0.5, -1.0, -1.0]])  # 9: padding
    assert np.isclose(experience_metrics(experience, np.zeros(2))["entropy/sampled"], 6 / 6)
