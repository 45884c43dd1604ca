import numpy as np
import pytest
import torch

from gainrl.datasets.arrow import ArrowProblems
from gainrl.datasets.checks import drop_long
from gainrl.datasets.mixture import mixture
from gainrl.datasets.splits import DataSplits
from gainrl.datasets.template_by_source import TemplateBySource
from gainrl.datasets.templates import PromptTemplate
from gainrl.functional.angles import direction_sums, weighted_concentration
from gainrl.signals.activations import Tap, tapped
from gainrl.signals.angle import AngleSignal
from gainrl.signals.prefill import run_prefill
from gainrl.types import Problem
from tests.training.rig import sums, tiny_policy

SHORT = PromptTemplate(system="Add.", chat="auto")
LONG = PromptTemplate(system="Add.", example={"question": "1+1", "answer": "2"}, chat="auto")


@pytest.fixture(scope="module")
def policy():
    return tiny_policy()


@pytest.fixture(scope="module")
def pool():
    return mixture(sources={"a": sums(4), "b": sums(3)})


def test_each_problem_gets_the_prompt_of_its_source(policy, pool):
    bound = TemplateBySource(templates={"a": SHORT, "b": LONG}).bind(policy.tokenizer)
    prompts = bound.encode_problems(list(pool.train))
    short, long = SHORT.bind(policy.tokenizer), LONG.bind(policy.tokenizer)
    for problem, prompt in zip(pool.train, prompts, strict=True):
        assert prompt == (short if problem.source_name == "a" else long).encode(problem.question)
    assert all(prompt.ids[: len(bound.prefix_ids)] == bound.prefix_ids for prompt in prompts)
    assert bound.prefix_ids  # both begin with the same system text


def test_sources_that_are_not_named_have_the_other_template_or_are_refused(policy, pool):
    other = TemplateBySource(templates={"a": SHORT}, other=LONG).bind(policy.tokenizer)
    both = TemplateBySource(templates={"a": SHORT, "b": LONG}).bind(policy.tokenizer)
    assert other.encode_problems(list(pool.train)) == both.encode_problems(list(pool.train))
    assert other.fingerprint != both.fingerprint
    with pytest.raises(ValueError, match=r"source 'b', only for a. Type template@template.templates.b=OPTION"):
        TemplateBySource(templates={"a": SHORT}).bind(policy.tokenizer).encode_problems(list(pool.train))
    with pytest.raises(ValueError, match="for each source of the mixture"):
        TemplateBySource(templates={})


def test_prompts_are_too_long_by_their_own_template(policy):
    def problems(name):
        made = [Problem(id=str(n), question="9" * (n + 1), reference_answer="1", source=name) for n in range(20)]
        return DataSplits(ArrowProblems.from_problems(made, name=name), None)

    pool = mixture(sources={"a": problems("x"), "b": problems("y")}).train
    bound = TemplateBySource(templates={"a": SHORT, "b": LONG}).bind(policy.tokenizer)
    room = 8 + max(len(one.encode("1")) for one in bound.templates.values())
    lengths = [len(prompt) for prompt in bound.encode_problems(list(pool))]
    kept, finding = drop_long(pool, bound, max_prompt_tokens=room)
    assert [problem.id for problem in kept] == [
        problem.id for problem, length in zip(pool, lengths, strict=True) if length <= room
    ]
    assert finding is not None
    assert finding.count == sum(length > room for length in lengths)


def test_the_angle_compares_each_question_with_the_prefix_of_its_own_prompt(policy, pool):
    problems = list(pool.train)
    prompts = TemplateBySource(templates={"a": SHORT, "b": LONG}).bind(policy.tokenizer).encode_problems(problems)
    together = run_prefill([AngleSignal()], problems, prompts, policy)[0]
    alone = [run_prefill([AngleSignal()], [p], [t], policy)[0][0] for p, t in zip(problems, prompts, strict=True)]
    assert together == pytest.approx(np.array(alone), rel=1e-5)

    prompt = prompts[-1]
    with torch.no_grad(), tapped(policy.model, [Tap()]) as states:
        policy.model(torch.tensor([prompt.ids]))
    columns = torch.arange(len(prompt))[None]
    start, stop = prompt.question
    question = direction_sums(states[Tap()], (columns >= start) & (columns < stop))
    prefix = direction_sums(states[Tap()], columns < start)
    assert together[-1] == pytest.approx(
        float(weighted_concentration(question, prefix, intra=1.0, inter=1.0)[0]), rel=1e-5
    )
