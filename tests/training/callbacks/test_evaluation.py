import pytest

from gainrl.datasets.arrow import ArrowProblems
from gainrl.training.callbacks import Evaluation
from gainrl.types import Judgement, Verdict
from tests.training.rig import RecordingEngine, RuleReward, ScriptedEngine, data_of, fit, logged, module_of, sums


def evaluation(**changes) -> Evaluation:
    return Evaluation(**({"every": 2, "samples": 2, "max_new_tokens": 4} | changes))


class HeldOut(RecordingEngine):
    """Keeps the rollouts of evaluations apart: they have another limit on tokens than training."""

    def generate(self, policy, prompts, sampling, keys):
        rollout = self.inner.generate(policy, prompts, sampling, keys)
        if sampling.max_new_tokens == 4:
            self.rollouts.append((sampling, keys, rollout))
        return rollout


def test_it_runs_before_training_on_its_period_and_after_the_last_step():
    module, seen = module_of(), []
    callback = evaluation(every=2)
    measure = callback.measure
    callback.measure = lambda *given: seen.append(module.counters.step) or measure(*given)
    fit(module, data_of(module, steps=5, epoch=5), [callback])
    assert seen == [0, 2, 4, 5]
    assert callback.first["eval/accuracy"] >= 0
    assert callback.latest.items() <= logged(module).items()


def test_every_evaluation_draws_the_same_completions_from_the_same_policy():
    engine = HeldOut()
    module = module_of(engine=engine, lr=0.0)
    callback = evaluation()
    fit(module, data_of(module, steps=2), [callback])
    first, second = engine.rollouts[:2], engine.rollouts[2:]
    assert [sampling.temperature for sampling, _, _ in first] == [0.0, 1.0]
    for (_, keys, one), (_, again, other) in zip(first, second, strict=True):
        assert keys.tolist() == again.tolist()
        assert one.completion_ids.tolist() == other.completion_ids.tolist()
    assert callback.first == callback.latest


def test_the_seed_of_the_run_does_not_change_what_is_evaluated_but_the_seed_of_evaluation_does():
    def sampled(run_seed, seed):
        engine = HeldOut()
        module = module_of(engine=engine, seed=run_seed)
        data = data_of(module)
        evaluation(seed=seed).measure(module, data)
        return engine.rollouts[1][2].completion_ids.tolist()

    assert sampled(0, 0) == sampled(1, 0) != sampled(0, 1)


def test_accuracy_avg_and_pass_by_level_are_means_over_levels():
    """Level 1: held-102 and held-105; level 2: held-100 and held-103; level 3: held-101."""
    greedy = {"held-102": 1, "held-105": 0, "held-100": 1, "held-103": 1, "held-101": 0}
    sampled = {"held-102": [1, 0, 0], "held-105": [0, 0, 0], "held-100": [1, 1, 1], "held-103": [1, 1, 0]}

    class Table:
        def score(self, completions, problems):
            counts: dict[str, int] = {}
            verdicts = []
            for problem in problems:
                place = counts.get(problem.id, 0)
                counts[problem.id] = place + 1
                outcomes = [greedy[problem.id]] if len(problems) == 5 else sampled.get(problem.id, [0, 0, 0])
                good = outcomes[place]
                verdicts.append(Verdict(Judgement.CORRECT if good else Judgement.WRONG, float(good)))
            return verdicts

    module = module_of(engine=ScriptedEngine("1<end>"), reward=Table())
    data = data_of(module, splits=sums(held_out=6))
    data.held_out = ArrowProblems.from_problems([p for p in data.held_out if p.id in greedy], name="five")
    row = evaluation(samples=3).measure(module, data)
    assert row["eval/accuracy/level_1"] == 0.5
    assert row["eval/accuracy/level_2"] == 1.0
    assert row["eval/accuracy/level_3"] == 0.0
    assert row["eval/accuracy"] == 0.5  # of the three levels, though 3 of 5 problems are right
    assert row["eval/avg@3/level_2"] == pytest.approx((1 + 2 / 3) / 2)
    assert row["eval/avg@3"] == pytest.approx((1 / 6 + 5 / 6 + 0) / 3)
    assert row["eval/pass@3"] == pytest.approx((1 / 2 + 1 + 0) / 3)


def test_a_limit_takes_as_many_of_every_level():
    reward = RuleReward(lambda text, problem: True)
    module = module_of(reward=reward)
    data = data_of(module, splits=sums(held_out=9))
    evaluation(limit=2, samples=0).measure(module, data)
    assert [name for _, name in reward.asked] == [f"held-{number}" for number in range(100, 106)]


def test_greedy_only_costs_one_completion_per_problem():
    reward = RuleReward(lambda text, problem: True)
    module = module_of(reward=reward)
    data = data_of(module)
    found = evaluation(samples=0).measure(module, data)
    assert {name: value for name, value in found.items() if "solution" not in name} == {
        "eval/accuracy": 1.0,
        **{f"eval/accuracy/level_{level}": 1.0 for level in (1, 2, 3)},
    }
    assert len(reward.asked) == 6


def test_an_evaluation_changes_nothing_of_what_training_draws():
    rows = []
    for callbacks in ([], [evaluation(every=1)]):
        engine = RecordingEngine()
        module = module_of(engine=engine)
        fit(module, data_of(module, steps=2), callbacks)
        rows.append([r.completion_ids.tolist() for r in engine.rollouts if len(r.prompts) == 4])
    assert rows[0] == rows[1]


@pytest.mark.parametrize(("changes", "said"), [({"every": 0}, "every=0"), ({"samples": -1}, "samples=-1")])
def test_impossible_periods_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        evaluation(**changes)
