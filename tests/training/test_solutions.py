"""The log-probability of worked solutions: one number per problem, whatever runs together."""

import math

import numpy as np
import pytest
import torch

from gainrl.models.stops import closing_stop
from gainrl.training.callbacks import Evaluation
from gainrl.training.solutions import solution_logprobs
from gainrl.types import Problem
from tests.training.rig import data_of, fit, logged, module_of, sums


def one_by_one(policy, template, problem) -> float:
    """The slow way: one token after the other, each given all before it."""
    ids = list(template.encode_problems([problem])[0].ids)
    solution = policy.tokenizer(problem.solution, add_special_tokens=False)["input_ids"] + [closing_stop(policy)]
    total = 0.0
    for token in solution:
        with torch.no_grad():
            logits = policy.model(input_ids=torch.tensor([ids])).logits[0, -1].double()
        total += float(logits[token] - torch.logsumexp(logits, 0))
        ids.append(token)
    return total / len(solution)


@pytest.mark.parametrize("tokens_at_once", [1, 40, 8_192])
def test_it_is_the_mean_over_the_tokens_of_the_solution_for_any_batching(tokens_at_once):
    module = module_of()
    data = data_of(module)
    problems = list(sums().held_out)
    found = solution_logprobs(module.policy, data.template, problems, tokens_at_once=tokens_at_once)
    expected = [one_by_one(module.policy, data.template, problem) for problem in problems]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_problem_without_a_worked_solution_has_none_and_one_that_is_too_long_neither():
    module = module_of()
    data = data_of(module)
    without = Problem(id="a", question="1+1", reference_answer="2")
    long = Problem(id="b", question="1+1", reference_answer="2", solution="1" * 100_000)
    known = next(iter(sums().held_out))
    module.policy.model.config.max_position_embeddings = 1_000
    found = solution_logprobs(module.policy, data.template, [without, known, long])
    assert np.isnan(found).tolist() == [True, False, True]
    assert np.isnan(solution_logprobs(module.policy, data.template, [without])).all()


def test_an_evaluation_gives_the_mean_over_levels_and_each_level():
    module = module_of(lr=0.0)
    data = data_of(module, steps=2)
    callback = Evaluation(every=2, samples=0, max_new_tokens=2)
    fit(module, data, [callback])
    problems = list(sums().held_out)
    values = solution_logprobs(module.policy, data.template, problems)
    levels: dict[int, list[float]] = {1: [], 2: [], 3: []}
    for problem, value in zip(problems, values, strict=True):
        levels[problem.level].append(value)
    found = logged(module)
    for level, numbers in levels.items():
        assert found[f"eval/solution_logprob/level_{level}"] == pytest.approx(math.fsum(numbers) / len(numbers))
    means = [math.fsum(numbers) / len(numbers) for numbers in levels.values()]
    assert found["eval/solution_logprob"] == pytest.approx(math.fsum(means) / 3)
    assert module.policy.model.training
