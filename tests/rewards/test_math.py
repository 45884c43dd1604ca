import gzip
import json
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gainrl.rewards.equivalence import compare, readable
from gainrl.rewards.math import MathReward, decide_here
from gainrl.rewards.notation import clean
from gainrl.types import Judgement, Problem
from tests.published_data import DATA, needs_data

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.jsonl"))

# Reference answers that no reader makes sense of; docs/verifier.md lists them with the reasons.
UNREADABLE = {"olympiadbench-2045"}


@pytest.fixture(scope="module")
def reward() -> Iterator[MathReward]:
    reward = MathReward(workers=2, time_limit_seconds=20.0, batch_limit_seconds=120.0)
    yield reward
    reward.close()


def rows_of(path: Path) -> list[dict]:
    text = path.read_bytes()
    lines = gzip.decompress(text) if path.suffix == ".gz" else text
    return [json.loads(line) for line in lines.splitlines()]


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_the_golden_corpus_is_judged_as_written(reward: MathReward, path: Path) -> None:
    rows = rows_of(path)
    problems = [Problem("", "", row["reference"], extra=row.get("extra", {})) for row in rows]
    verdicts = reward.score([row["completion"] for row in rows], problems)
    wrong = [
        f"{row['completion']!r} for {row['reference']!r} ({row['why']}): {verdict.judgement}, not {row['judgement']}"
        for row, verdict in zip(rows, verdicts, strict=True)
        if verdict.judgement != row["judgement"]
    ]
    assert not wrong, "\n".join(wrong)


def test_the_golden_corpus_holds_at_least_a_thousand_distinct_cases() -> None:
    cases = {(row["reference"], row["completion"], str(row.get("extra"))) for path in CORPUS for row in rows_of(path)}
    assert len(cases) >= 1000


@needs_data
@pytest.mark.parametrize(
    ("file", "share"),
    [
        ("gsm8k_train", 1.0),
        ("gsm8k_test", 1.0),
        ("aime_train", 1.0),
        ("aime24_test", 1.0),
        ("amc_train", 1.0),
        ("amc_test", 1.0),
        ("math_train", 0.99),
        ("math500_test", 0.99),
        ("olympiadbench_test", 0.99),
        ("minerva_math_test", 0.99),
    ],
)
def test_every_published_answer_agrees_with_itself(file: str, share: float) -> None:
    rows = rows_of(Path(DATA) / f"{file}.jsonl.gz")
    # `readable` compares what was read, never the texts, so that this is a statement about the reader.
    unread = {
        row["id"] for row in rows if not readable(clean(row["answer"], is_list=bool(row.get("is_multiple_answer"))))
    }
    assert len(unread) <= (1.0 - share) * len(rows)
    assert unread <= UNREADABLE


@needs_data
def test_a_completion_that_gives_the_published_answer_is_correct(reward: MathReward) -> None:
    rows = rows_of(Path(DATA) / "olympiadbench_test.jsonl.gz")[::5] + rows_of(Path(DATA) / "math500_test.jsonl.gz")[::5]
    problems = [Problem(row["id"], "", row["answer"], extra=row) for row in rows]
    verdicts = reward.score([rf"Therefore $\boxed{{{row['answer']}}}$." for row in rows], problems)
    assert [problem.id for problem, verdict in zip(problems, verdicts, strict=True) if not verdict.correct] == []


numbers = st.builds(
    lambda form, value, part: form.format(value, part),
    st.sampled_from(
        [
            "{0}", "{0}.{1}", r"\frac{{{0}}}{{{1}}}", r"{0}\%", "{0} cm", "{0} m", r"{0}\text{{ m}}", r"\${0}",
            "{0} million", "{0}/{1}", "{0} {1}/9", r"{0}\text{{ hundredths}}", "{0} xy", "{0} apples", r"{0}^\circ",
            "{0},000", "x={0}",
            r"{0}\text{{ or more}}", "{0} p.m.", r"0.\overline{{{1}}}", r"\{{{0}\}}", "{0} hours {1} minutes",
        ]
    ),
    st.integers(-12, 12),
    st.integers(1, 12),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(numbers, numbers)
def test_numbers_judged_without_a_worker_are_judged_as_a_worker_would(answer: str, reference: str) -> None:
    decided = decide_here((answer, (reference,), None, False))
    if decided is not None:
        assert (decided[0] is Judgement.CORRECT) == (compare(answer, [reference])[0] == "correct")


@pytest.mark.parametrize("hostile", ["9^{9^{9^{9}}}", r"\binom{10^{9}}{10^{8}}"])
def test_a_hostile_answer_costs_one_worker_and_nothing_else(hostile: str) -> None:
    reward = MathReward(workers=1, time_limit_seconds=3.0)
    problem = Problem("p", "", r"x + \frac{\pi}{7}")
    verdicts = reward.score([rf"\boxed{{{hostile}}}", r"\boxed{\frac{\pi}{7} + x}"], [problem] * 2)
    assert [verdict.judgement for verdict in verdicts] == [Judgement.TIMEOUT, Judgement.CORRECT]
    replaced = reward._pool.replaced
    again = reward.score([rf"\boxed{{{hostile}}}"], [problem])[0]
    reward.close()
    assert again.judgement is Judgement.TIMEOUT
    assert replaced == reward._pool.replaced == 1  # remembered, not tried again


@pytest.mark.parametrize(
    "answer",
    [
        "1" * 4900,
        "0." + "1" * 4900,
        r"\frac{1}{0}",
        "0^{-1}",
        r"\lfloor i \rfloor",
        r"\sqrt[0]{2}",
        "[i, 2i]",
        "i < 2",
        "x < i",
    ],
)
def test_an_answer_without_a_value_is_not_a_fault_of_the_judge(answer: str) -> None:
    assert compare(answer, [r"2\pi + x"])[0] == "wrong"
    assert compare(answer, ["3 < x < 4"])[0] == "wrong"


def test_ten_megabytes_are_judged_without_a_worker(reward: MathReward) -> None:
    flood = "a" * 10_000_000
    assert reward.judge(flood + r"\boxed{5}", "5").correct
    assert reward.judge(flood, "5").judgement is Judgement.UNPARSABLE
    assert reward.judge(rf"\boxed{{{flood[:50_000]}}}", "5").judgement is Judgement.UNPARSABLE


def test_threads_may_share_one_reward(reward: MathReward) -> None:
    correct: dict[int, list[bool]] = {}

    def judge(number: int) -> None:
        correct[number] = [
            reward.judge(rf"\boxed{{\frac{{{number}}}{{7}}}}", rf"\frac{{{k}}}{{7}}").correct for k in range(4)
        ]

    threads = [threading.Thread(target=judge, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert correct == {number: [k == number for k in range(4)] for number in range(4)}


def test_values_follow_the_judgement() -> None:
    reward = MathReward(correct_value=2.0, wrong_value=-1.0, unparsable_value=-0.5)
    values = [reward.judge(text, "5").value for text in (r"\boxed{5}", r"\boxed{6}", "no idea")]
    assert values == [2.0, -1.0, -0.5]


def test_alternatives_count_unless_they_are_switched_off() -> None:
    problem = Problem("p", "", "7", extra={"alt_answers": ["8"]})
    assert MathReward().score([r"\boxed{8}"], [problem])[0].correct
    assert not MathReward(alternatives=False).score([r"\boxed{8}"], [problem])[0].correct


def test_a_copy_in_another_process_has_workers_of_its_own() -> None:
    copy = pickle.loads(pickle.dumps(MathReward(workers=1, wrong_value=-1.0)))
    assert copy.judge(r"\boxed{\sqrt{8}}", r"2\sqrt{2}").correct
    assert copy.judge(r"\boxed{7}", "8").value == -1.0
    copy.close()


def test_the_fallback_is_a_choice() -> None:
    assert MathReward().judge("It is 5.", "5").judgement is Judgement.UNPARSABLE
    assert MathReward(fallback="last_number").judge("It is 5.", "5").correct


@pytest.mark.parametrize(
    ("settings", "advice"),
    [({"fallback": "first_number"}, "last_number"), ({"workers": 0}, "workers=0"), ({"cache_size": -1}, "Give 0")],
)
def test_settings_that_cannot_work_are_refused(settings: dict, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        MathReward(**settings)
