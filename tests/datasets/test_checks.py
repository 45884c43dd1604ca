from pathlib import Path

import pyarrow as pa
import pytest

from gainrl.datasets.arrow import ArrowProblems
from gainrl.datasets.checks import clean, drop_long, evaluable, normalised
from gainrl.datasets.deepscaler import deepscaler
from gainrl.datasets.json_lines import numbered_lines
from gainrl.datasets.math import math
from gainrl.datasets.olympiadbench import olympiadbench
from gainrl.datasets.splits import DataSplits
from gainrl.datasets.templates import PromptTemplate
from gainrl.types import Problem
from tests.published_data import DATA, needs_data
from tests.tokenizers_in_code import byte_tokenizer


def problem(id, question="Why?", answer="1", **extra):
    return Problem(id=id, question=question, reference_answer=answer, extra=extra)


def problems(*rows, name="pool"):
    return ArrowProblems.from_problems(rows, name=name)


def ids(problems):
    return [problem.id for problem in problems]


def test_each_fault_is_counted_once_and_its_rule_applied():
    train = problems(
        problem("a", "First?"),
        problem("a", "Repeated id?"),
        problem("b", "  \n"),
        problem("c", "No answer?", " "),
        problem("d", "Tests judge this one?", "", tests="assert True"),
        problem("e", "Two answers?", alt_answers=["2"]),
        problem("f", "What is  2 + 2 ?"),
        problem("g", "Is this sound?"),
    )
    held_out = problems(problem("t", "what is 2+2?"), name="test")
    splits, findings = clean(DataSplits(train=train, held_out=held_out))
    assert ids(splits.train) == ["a", "d", "g"]
    assert ids(splits.held_out) == ["t"]
    assert [(finding.fault, finding.count, finding.examples) for finding in findings] == [
        ("repeated ids", 1, ("a",)),
        ("blank questions", 1, ("b",)),
        ("problems without an answer", 1, ("c",)),
        ("disputed answers", 1, ("e",)),
        ("problems of an evaluation set", 1, ("f",)),
    ]
    assert str(findings[0]) == "pool: 1 repeated ids (a): the first of each is kept"


def test_sound_problems_pass_unchanged_and_unmentioned():
    train = problems(problem("a"), problem("b", "How?"))
    splits, findings = clean(DataSplits(train=train, held_out=None))
    assert splits.train.fingerprint == train.fingerprint
    assert findings == []


@pytest.mark.parametrize(
    "question", ["\u200b\u200d", "\ufeff \u2060", "\x00\x07", "\u00ad", "\u3164", "\u2800", "\u00a0\u2003"]
)
def test_a_question_that_shows_nothing_is_blank(question):
    splits, findings = clean(DataSplits(train=problems(problem("a", question), problem("b")), held_out=None))
    assert ids(splits.train) == ["b"]
    assert [(finding.fault, finding.count) for finding in findings] == [("blank questions", 1)]


@pytest.mark.parametrize(
    ("answers", "left"),
    [
        (("2", "3"), 0),
        (("1,000", "1001"), 0),
        (("yes", "No"), 0),
        (("Paris", "LONDON"), 0),
        (("2", "2.0"), 2),
        (("097", "97"), 2),
        (("1,000", "$1000$"), 2),
        (("yes", "Yes"), 2),
        ((r"\frac{1}{2}", "0.5"), 2),  # only a judge can tell
        (("5", "five"), 2),
        (("2", "2", "3"), 0),
    ],
)
def test_questions_with_contradicting_answers_are_left_out_of_training_and_kept_in_evaluation(answers, left):
    rows = [problem(str(place), "How many  of them?", answer) for place, answer in enumerate(answers)]
    rows[0] = problem("0", "How many of\nthem?", answers[0])
    other = problem("other", "Something else?", "9")
    splits, findings = clean(DataSplits(train=problems(*rows, other), held_out=None))
    assert len(splits.train) == left + 1
    faults = [(finding.fault, finding.count) for finding in findings]
    assert faults == ([] if left else [("questions with contradicting answers", len(rows))])
    splits, findings = clean(DataSplits(train=None, held_out=problems(*rows, other)))
    assert len(splits.held_out) == len(rows) + 1
    assert [finding.rule for finding in findings] == ([] if left else ["kept, though one answer of each is wrong"])


def test_questions_that_differ_in_a_sign_are_different_questions():
    rows = [
        problem("a", "State the result of this long sum: 3 + 4 =", "7"),
        problem("b", "State the result of this long sum: 3 - 4 =", "-1"),
    ]
    assert len(clean(DataSplits(train=problems(*rows), held_out=None))[0].train) == 2


def test_other_evaluation_sets_are_protected_too():
    train = problems(problem("a", "Why?"), problem("b", "How?"))
    splits, _ = clean(DataSplits(train=train, held_out=None), evaluation=[problems(problem("t", "HOW"))])
    assert ids(splits.train) == ["a"]


def test_a_set_that_has_no_answers_at_all_is_kept_for_a_reward_of_its_own():
    train = problems(problem("a", "Why?", ""), problem("b", "How?", ""))
    splits, findings = clean(DataSplits(train=train, held_out=None))
    assert len(splits.train) == 2
    assert findings[0].rule == "kept, as no problem has one"


def test_a_set_of_which_nothing_is_left_is_refused():
    with pytest.raises(ValueError, match="nothing of pool is left: pool: 1 problems of an evaluation set"):
        clean(DataSplits(train=problems(problem("a")), held_out=problems(problem("t"))))


def test_an_evaluation_set_loses_what_cannot_be_asked_and_says_so():
    template = PromptTemplate(chat="plain", plain_form="Q:\n{question}\n").bind(byte_tokenizer())
    given = problems(problem("a", "1234"), problem("a", "12"), problem("b", " "), problem("c", "123456"))
    kept, findings = evaluable(given, template, max_prompt_tokens=3 + 5 + 1)
    assert ids(kept) == ["a"]
    assert [finding.fault for finding in findings] == [
        "repeated ids",
        "blank questions",
        "prompts of more than 9 tokens",
    ]
    assert ids(evaluable(given, template, max_prompt_tokens=None)[0]) == ["a", "c"]


def test_prompts_of_exactly_the_limit_stay_and_longer_ones_leave():
    template = PromptTemplate(chat="plain", plain_form="Q:\n{question}\n").bind(byte_tokenizer())
    pool = problems(problem("a", "12345"), problem("b", "123456"), problem("c", "é" * 2), problem("d", "é" * 3))
    kept, finding = drop_long(pool, template, max_prompt_tokens=3 + 5 + 1)
    assert ids(kept) == ["a", "c"]
    assert str(finding) == "pool: 2 prompts of more than 9 tokens (b, d): left out"
    assert drop_long(pool, template, max_prompt_tokens=10)[1] is None


def test_a_template_without_room_for_a_question_is_refused():
    template = PromptTemplate(chat="plain", plain_form="Q:\n{question}\n").bind(byte_tokenizer())
    with pytest.raises(ValueError, match="alone has 4 tokens"):
        drop_long(problems(problem("a")), template, max_prompt_tokens=4)


@needs_data
def test_overlaps_with_evaluation_sets_are_those_that_the_data_names(tmp_path):
    options = {"data_dir": DATA, "cache_dir": str(tmp_path)}
    olympiad = olympiadbench(**options).held_out
    for splits, name in ((math(**options), "math_train"), (deepscaler(**options), "deepscaler_partial_train")):
        named = {record["id"] for _, record in numbered_lines(Path(DATA, f"{name}.jsonl.gz")) if "overlap" in record}
        assert named
        cleaned, _ = clean(splits, evaluation=[olympiad], keep_disputed=True)
        assert set(splits.train.column("id")) - set(cleaned.train.column("id")) == named
        assert named


def test_sums_that_differ_in_a_sign_are_different_problems():
    texts = normalised(pa.array(["a7 b+2", "a7 b-2", "A7  B + 2"]))
    assert texts[0] != texts[1]
    assert texts[0] == texts[2]
