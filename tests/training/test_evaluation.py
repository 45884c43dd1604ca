from collections import Counter
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gainrl.datasets.arrow import ArrowProblems
from gainrl.models.tiny import tiny_tokenizer
from gainrl.rewards.math import MathReward
from gainrl.rollouts.hf import HFEngine
from gainrl.training.callbacks.evaluation import Evaluation, set_metrics
from gainrl.training.distributed.ranks import Ranks
from gainrl.training.evaluation import (
    GREEDY,
    Completion,
    EvaluationSet,
    EvaluationSettings,
    chosen_rows,
    evaluate,
    problems_at_once,
    scores,
)
from gainrl.training.runtime import PhaseClock
from gainrl.types import FinishReason, Judgement, Policy, Problem, PromptTokens, Rollout, Verdict
from tests.architectures import build_policy, build_prompts

TOKENIZER = tiny_tokenizer(["\\boxed{"])


class Template:
    def encode_problems(self, problems):
        encoded = [tuple(TOKENIZER.encode(problem.question)) for problem in problems]
        return [PromptTokens(ids, {"question": (0, len(ids))}) for ids in encoded]


class Scripted:
    """Answers the question ``q`` with ``script[q][0]`` greedily and with the other entries as samples."""

    def __init__(self, script):
        self.script, self.calls = script, []

    def generate(self, policy, prompts, sampling, keys):
        questions = [TOKENIZER.decode(list(prompt.ids)) for prompt in prompts]
        self.calls.append((sampling.temperature, questions))
        texts = [
            text
            for question in questions
            for text in (self.script[question][:1] if sampling.temperature == 0 else self.script[question][1:])
        ]
        assert len(texts) == len(prompts) * sampling.group_size
        ids = [TOKENIZER.encode(f"\\boxed{{{text}}}" if text else "?") for text in texts]
        width = max(map(len, ids))
        return Rollout(
            prompts=list(prompts),
            group_size=sampling.group_size,
            completion_ids=torch.tensor([row + [TOKENIZER.pad_token_id] * (width - len(row)) for row in ids]),
            lengths=torch.tensor([len(row) for row in ids]),
            finish_reasons=[FinishReason.STOP if text else FinishReason.LENGTH for text in texts],
        )


QUESTIONS = {  # reference answer, level, greedy completion and three samples
    "a": ("1", 1, ["1", "1", "1", "2"]),
    "bb": ("2", 1, ["1", "2", "3", ""]),
    "cccc": ("3", 2, ["3", "5", "5", "3"]),
}
SETTINGS = EvaluationSettings(samples=3, max_new_tokens=8)


def made(reward=None, levels=True):
    problems = [
        Problem(id=f"p-{question}", question=question, reference_answer=answer, level=level if levels else None)
        for question, (answer, level, _) in QUESTIONS.items()
    ]
    evaluated = EvaluationSet("sums", ArrowProblems.from_problems(problems, name="sums"), reward or MathReward())
    return evaluated, Scripted({question: texts for question, (_, _, texts) in QUESTIONS.items()})


def run(evaluated, engine, **options):
    policy = Policy(None, TOKENIZER, (TOKENIZER.eos_token_id,), TOKENIZER.pad_token_id)
    settings = options.pop("settings", SETTINGS)
    return evaluate(evaluated, policy, engine=engine, template=Template(), settings=settings, **options)


def test_scores_by_hand():
    evaluated, engine = made()
    found = scores(evaluated, run(evaluated, engine), SETTINGS, ks=[1, 3])
    assert {name: members.tolist() for name, members in found.groups.items()} == {
        "level_1": [True, True, False],
        "level_2": [False, False, True],
    }
    assert found.values["accuracy"].tolist() == [1, 0, 1]
    np.testing.assert_allclose(found.values["avg@3"], [2 / 3, 1 / 3, 1 / 3])
    np.testing.assert_allclose(found.values["pass@1"], [2 / 3, 1 / 3, 1 / 3])
    np.testing.assert_allclose(found.values["pass@3"], [1, 1, 1])
    np.testing.assert_allclose(found.values["maj@3"], [1, 1 / 2, 0])  # b: a tie of 2 and 3; the unread one abstains


def test_without_samples_there_is_greedy_accuracy_only():
    evaluated, engine = made()
    settings = EvaluationSettings(samples=0, max_new_tokens=8)
    found = scores(evaluated, run(evaluated, engine, settings=settings), settings)
    assert list(found.values) == ["accuracy"]
    assert [temperature for temperature, _ in engine.calls] == [0]


def test_greedy_and_samples_are_one_request_where_an_engine_decodes_them_together():
    policy = build_policy("llama", stop_ids=(3,))
    policy.model.eval()
    policy.tokenizer = TOKENIZER
    rows = build_prompts([5, 7, 6])
    template = SimpleNamespace(encode_problems=lambda problems: [rows[int(problem.id)] for problem in problems])
    problems = ArrowProblems.from_problems([Problem(str(row), f"{row}", "1") for row in range(3)], name="tokens")
    judge = SimpleNamespace(score=lambda texts, of: [Verdict(Judgement.WRONG, 0.0) for _ in texts])
    settings = EvaluationSettings(samples=2, max_new_tokens=6, temperature=0.7, top_k=20, seed=3)

    def drawn(mixed):
        asked = []

        class Engine(HFEngine):
            decodes_mixed = mixed

            def generate(self, policy, prompts, sampling, keys):
                asked.append((sampling.group_size, sampling.temperature))
                return super().generate(policy, prompts, sampling, keys)

        of = EvaluationSet("tokens", problems, judge)
        found = evaluate(of, policy, engine=Engine(), template=template, settings=settings)
        return asked, [(completion.row, completion.draw, completion.tokens, completion.text) for completion in found]

    together, apart = drawn(True), drawn(False)
    assert together[0] == [(3, 0.7)]
    assert apart[0] == [(1, 0.0), (2, 0.7)]
    assert [place for *place, _, _ in together[1]] == [[row, draw] for row in range(3) for draw in (GREEDY, 0, 1)]
    assert together[1] == apart[1]


def test_each_problem_is_generated_once_however_often_an_evaluation_is_interrupted():
    evaluated, engine = made()
    whole = run(evaluated, engine)
    known = [c for c in whole if c.row == 1] + [c for c in whole if c.row == 0 and c.draw != 2]  # row 0 lacks a draw
    engine.calls.clear()
    batches = []
    again = run(evaluated, engine, known=known, on_batch=batches.append)
    assert again == whole
    assert engine.calls == [(0, ["cccc", "a"]), (1.0, ["cccc", "a"])]
    assert [(c.row, c.draw) for c in batches[0]] == [(row, draw) for row in (0, 2) for draw in (GREEDY, 0, 1, 2)]


def test_batches_hold_prompts_of_similar_length_and_change_nothing():
    evaluated, engine = made()
    batches = []
    completions = run(evaluated, engine, batch_problems=2, on_batch=batches.append)
    assert [questions for temperature, questions in engine.calls if temperature == 0] == [["cccc", "bb"], ["a"]]
    assert [len(batch) for batch in batches] == [8, 4]
    assert completions == run(*made())


def test_a_limit_takes_the_first_problems_of_each_level():
    assert chosen_rows(made()[0], 1).tolist() == [0, 2]
    assert chosen_rows(made(levels=False)[0], 2).tolist() == [0, 1]
    assert chosen_rows(made()[0], None).tolist() == [0, 1, 2]


def of_two_sources():
    """Six problems: two levels of ``gcd``, one of ``sums``, whose levels are those of other things."""
    kinds = [("a/gcd", 1), ("a/gcd", 1), ("a/gcd", 2), ("a/gcd", 2), ("sums", 1), ("sums", 1)]
    problems = [
        Problem(id=f"p{place}", question="a", reference_answer="1", level=level, source=source)
        for place, (source, level) in enumerate(kinds)
    ]
    return ArrowProblems.from_problems(problems, name="two sources")


def test_a_limit_takes_the_first_problems_of_each_level_of_each_source_where_sources_are_compared():
    problems = of_two_sources()
    assert chosen_rows(EvaluationSet("a", problems, MathReward(), "source"), 1).tolist() == [0, 2, 4]
    assert chosen_rows(EvaluationSet("a", problems, MathReward()), 1).tolist() == [0, 2]


def test_sources_are_compared_by_the_last_part_of_their_name_and_levels_are_left_out():
    evaluated = EvaluationSet("a", of_two_sources(), MathReward(), "source")
    settings = EvaluationSettings(samples=0, max_new_tokens=8)
    completions = [
        Completion(row, GREEDY, "", Judgement.CORRECT if row in (0, 4, 5) else Judgement.WRONG, 0.0, None, 1, False, "")
        for row in range(6)
    ]
    metrics = set_metrics("eval", scores(evaluated, completions, settings), over_groups=True)
    assert metrics == {
        "eval/accuracy": (1 / 4 + 1) / 2,  # the mean over sources, though half of the problems are right
        "eval/accuracy/source_gcd": 1 / 4,
        "eval/accuracy/source_sums": 1.0,
    }


def test_what_cannot_be_judged_counts_as_not_correct_and_is_told_apart():
    class Broken:
        def score(self, completions, problems):
            return [Verdict(Judgement.ERROR, 0.0, detail="no sandbox")] * len(completions)

    evaluated, engine = made(reward=Broken())
    completions = run(evaluated, engine)
    assert Counter(c.judgement for c in completions) == {Judgement.ERROR: 12}
    found = scores(evaluated, completions, SETTINGS)
    assert found.values["accuracy"].tolist() == [0, 0, 0]
    assert "maj@3" not in found.values  # this reward knows no votes


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"samples": -1}, "samples=-1"),
        ({"samples": 2, "temperature": 0.0}, "2 equal samples"),
        ({"samples": 0, "limit": 0}, "leaves no problem"),
        ({"samples": 0, "max_new_tokens": 0}, "needs room"),
    ],
)
def test_settings_without_meaning_are_refused(options, hint):
    with pytest.raises(ValueError, match=hint):
        EvaluationSettings(**{"max_new_tokens": 8} | options)


def callback(**options):
    evaluated, engine = made()
    policy = Policy(torch.nn.Linear(1, 1), TOKENIZER, (), TOKENIZER.pad_token_id)
    module = SimpleNamespace(
        policy=policy,
        trained=policy,
        engine=engine,
        reward=evaluated.reward,
        clock=PhaseClock(),
        ranks=Ranks(),
        rolling_out=nullcontext,
        whole_policy=nullcontext,
    )
    data = SimpleNamespace(template=Template(), held_out=evaluated.problems, compare_by="level")
    made_callback = Evaluation(every=1, samples=3, max_new_tokens=8, **options)
    return made_callback.measure(module, data)


def test_training_logs_held_out_problems_as_means_over_levels():
    metrics = callback()
    assert metrics["eval/accuracy/level_1"] == 0.5
    assert metrics["eval/accuracy/level_2"] == 1.0
    assert metrics["eval/accuracy"] == 0.75
    assert {name.split("/")[1] for name in metrics} == {"accuracy", "avg@3", "pass@3", "maj@3"}


def test_further_sets_are_logged_under_their_names_and_leave_the_headline_alone():
    metrics = callback(sets=[made()[0]])
    assert metrics["eval/accuracy"] == 0.75
    assert metrics["eval/sums/accuracy"] == pytest.approx(2 / 3)  # as published: the mean over problems
    assert metrics["eval/sums/accuracy/level_1"] == 0.5


def test_without_held_out_problems_the_headline_is_the_mean_over_sets():
    first, second = made()[0], EvaluationSet("more", made()[0].problems, MathReward())
    metrics = callback(sets=[first, second], held_out=False)
    assert metrics["eval/accuracy"] == pytest.approx(2 / 3)
    assert "eval/accuracy/level_1" not in metrics
    assert callback(held_out=False) == {}


def test_what_an_evaluation_decodes_together_is_known_before_it_runs():
    evaluated = made()[0]  # two problems of level 1, one of level 2
    policy = Policy(torch.nn.Linear(1, 1), TOKENIZER, (), TOKENIZER.pad_token_id)
    data = SimpleNamespace(held_out=evaluated.problems, compare_by="level")

    def asked(policy=policy, **options):
        return Evaluation(every=1, max_new_tokens=8, **options).decoded_at_once(policy, data, evaluated.reward)

    assert asked(samples=3) == {4: 12}  # three samples and the greedy completion of three problems
    assert asked(samples=3, limit=1) == {4: 8}
    assert asked(samples=0) == {1: 3}
    assert asked(samples=3, held_out=False) == {4: 0}
    more = EvaluationSet("more", made()[0].problems, MathReward())
    assert asked(samples=3, held_out=False, sets=[more]) == {4: 12}


def test_on_a_processor_a_large_model_evaluates_in_parts_and_a_tiny_one_in_one():
    settings = EvaluationSettings(samples=1, max_new_tokens=100)

    def at_once(size, device="cpu"):
        policy = Policy(torch.nn.Linear(size, 1, bias=False, device=device), None, (), 0)
        return problems_at_once(policy, settings)

    # 8e12 operations at once; a problem costs 2 x size x (100 + 100) tokens x 2 draws
    assert at_once(10**4) == 1_000_000
    assert at_once(10**7) == 1000
    assert at_once(10**4, device="meta") is None  # as on a GPU
