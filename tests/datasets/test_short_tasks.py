import json

import pytest
import yaml
from reasoning_gym import get_score_answer_fn

from gainrl.datasets.short_tasks import short_tasks
from tests.composition import CONF

OPTION = yaml.safe_load((CONF / "dataset" / "short_tasks.yaml").read_text(encoding="utf-8"))
FAMILIES = {"gcd": [{"max_value": 12}, {"max_value": 60}], "chain_sum": [{"min_digits": 1, "max_digits": 1}]}


def made(tmp_path, families=FAMILIES, **options):
    options = {"train_per_level": 12, "held_out_per_level": 5} | options
    return short_tasks(families=families, cache_dir=str(tmp_path), **options)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    return made(tmp_path_factory.mktemp("cache"), OPTION["families"])


def test_every_family_of_the_option_accepts_its_own_answers_and_nothing_else(shipped):
    assert set(shipped.held_out.column("source")) == set(OPTION["families"])
    for problem in shipped.held_out:
        score = get_score_answer_fn(problem.extra["task"])
        entry = json.loads(problem.extra["entry"])
        assert score(answer=problem.reference_answer, entry=entry) == 1.0
        assert score(answer="no such answer", entry=entry) < 1.0
        assert problem.solution == f"\\boxed{{{problem.reference_answer}}}"


def test_every_level_of_every_family_has_its_share(shipped):
    for part, size in ((shipped.held_out, 5), (shipped.train, 12)):
        counts = {}
        for problem in part:
            counts[problem.source, problem.level] = counts.get((problem.source, problem.level), 0) + 1
        assert set(counts.values()) == {size}
        assert len(counts) == sum(map(len, OPTION["families"].values()))


def test_no_question_is_asked_twice_in_training_and_held_out_problems_together(shipped):
    questions = [problem.question for part in (shipped.train, shipped.held_out) for problem in part]
    assert len(set(questions)) == len(questions)


def test_questions_that_two_levels_share_belong_to_the_lower_one(tmp_path):
    splits = made(tmp_path, {"gcd": [{"max_value": 4}, {"max_value": 5}]}, train_per_level=100, held_out_per_level=3)
    questions = [problem.question for part in (splits.train, splits.held_out) for problem in part]
    assert len(set(questions)) == len(questions) == 5 * 5  # all pairs up to 5, those up to 4 in level 1
    assert sum(problem.level == 1 for part in (splits.train, splits.held_out) for problem in part) == 4 * 4


def test_accuracies_are_compared_by_family(tmp_path):
    assert made(tmp_path).compare_by == "source"


def test_answers_that_are_too_long_are_drawn_again(tmp_path):
    def longest(limit):
        families = {"word_sequence_reversal": [{"min_words": 2, "max_words": 8}]}
        return max(len(problem.reference_answer) for problem in made(tmp_path, families, longest_answer=limit).train)

    assert longest(20) <= 20 < longest(99)


def test_the_problems_are_a_function_of_the_settings_and_the_seed(tmp_path):
    first = made(tmp_path / "a", seed=3)
    assert made(tmp_path / "b", seed=3).train.fingerprint == first.train.fingerprint
    assert made(tmp_path / "a", seed=4).train.fingerprint != first.train.fingerprint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"families": {}}, "families is empty"),
        ({"families": {"gdc": [{}]}}, "did you mean 'gcd'"),
        ({"families": {"gcd": []}}, "gcd has no level"),
        ({"families": {"gcd": [{"largest": 3}]}}, "gcd cannot have the settings"),
        ({"families": {"gcd": [{"max_value": 2}]}}, r"only 4 different questions.*held_out_per_level=1"),
        ({"train_per_level": 0}, "leaves no problems"),
    ],
)
def test_what_cannot_be_built_is_refused_with_what_to_type(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        made(tmp_path, **options)


def test_sums_of_larger_numbers_are_shorter_questions_than_sums_of_more_numbers(shipped):
    lengths = {level: [] for level in (1, 2, 3)}
    for problem in shipped.train:
        if problem.source.endswith("chain_sum"):
            lengths[int(problem.level)].append(len(problem.question))
    assert min(map(len, lengths.values())) > 5
    assert sum(lengths[3]) / len(lengths[3]) < sum(lengths[2]) / len(lengths[2])  # 12 + 34, after 1 + 2 + 3
