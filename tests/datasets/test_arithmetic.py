import numpy as np
import pytest

from gainrl.datasets.arithmetic import arithmetic, level_counts
from gainrl.datasets.running_totals import running_totals, score_answer


@pytest.fixture
def splits(tmp_path):
    return arithmetic(terms=[2, 3, 4], train_per_level=40, held_out_per_level=20, seed=3, cache_dir=str(tmp_path))


def test_every_total_of_a_worked_answer_is_the_sum_so_far():
    for entry in (running_totals(index, terms=2 + index % 5, largest_total=9, seed=1) for index in range(200)):
        first, *steps = entry["answer"].split()
        total = int(first[1:])
        for step in steps:
            change, written = step[1:].split("=")
            total += int(change)
            assert total == int(written)
            assert 0 <= total <= 9


def test_an_answer_counts_only_if_all_its_totals_are_right():
    entry = {"answer": "a7 b+2=9 c-5=4"}
    assert score_answer("a7 b+2=9 c-5=4", entry) == 1.0
    assert score_answer(" a7b+2=9  c-5=4 ", entry) == 1.0
    assert score_answer("a7 b+2=8 c-5=4", entry) == 0.0
    assert score_answer("4", entry) == 0.0
    assert score_answer(None, entry) == 0.0


def test_no_training_question_is_held_out_or_differs_from_one_in_its_signs_only(splits):
    def bare(text):
        return text.replace("+", "").replace("-", "")

    held_out = {bare(problem.question) for problem in splits.held_out}
    assert not held_out & {bare(problem.question) for problem in splits.train}


def test_levels_have_the_terms_and_the_sizes_that_were_asked_for(splits):
    assert level_counts(splits.held_out) == {1: 20, 2: 20, 3: 20}
    assert level_counts(splits.train)[3] <= 40
    levels = splits.train.column("level")
    terms = np.array([len(problem.question.split()) for problem in splits.train])
    assert (terms == levels + 1).all()


def test_the_solution_is_the_boxed_answer(splits):
    problem = splits.train[0]
    assert problem.solution == f"\\boxed{{{problem.reference_answer}}}"


def test_the_same_settings_give_the_same_problems(tmp_path):
    def questions(folder):
        made = arithmetic(terms=[2, 3], train_per_level=9, held_out_per_level=5, seed=7, cache_dir=str(folder))
        return [problem.question for problem in made.train]

    assert questions(tmp_path / "a") == questions(tmp_path / "b")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"terms": [3, 2]}, "growing numbers of terms"),
        ({"terms": [1, 2]}, "from 2 to 26"),
        ({"held_out_per_level": 0}, "held_out_per_level=0"),
        ({"held_out_per_level": 400}, "all are held out"),
    ],
)
def test_impossible_sizes_are_named(changes, message, tmp_path):
    settings = {"terms": [2, 3], "train_per_level": 5, "held_out_per_level": 5, "cache_dir": str(tmp_path)} | changes
    with pytest.raises(ValueError, match=message):
        arithmetic(**settings)
