"""Questions of the same number of tokens at every level, so that length and level come apart."""

from gainrl.datasets.arithmetic import arithmetic
from gainrl.models.tiny import tiny_tokenizer

LETTERS = [" b", " c", " d", " e"]


def splits(tmp_path, **options):
    return arithmetic(terms=[2, 3, 5], train_per_level=12, held_out_per_level=4, cache_dir=str(tmp_path), **options)


def test_every_question_has_as_many_tokens_as_the_longest(tmp_path):
    tokenizer = tiny_tokenizer(LETTERS)

    def lengths(problems):
        return {len(tokenizer.encode(problem.question, add_special_tokens=False)) for problem in problems}

    equal, natural = splits(tmp_path, equal_length=True), splits(tmp_path)
    assert lengths(equal.train) == lengths(equal.held_out) == {2 + 4 * 3}
    assert lengths(natural.train) == {2 + 3, 2 + 2 * 3, 2 + 4 * 3}


def test_dots_are_all_that_differs(tmp_path):
    equal, natural = splits(tmp_path, equal_length=True).train, splits(tmp_path).train
    assert [problem.question.rstrip(".") for problem in equal] == [problem.question for problem in natural]
    assert [problem.reference_answer for problem in equal] == [problem.reference_answer for problem in natural]
    assert equal[0].question.endswith("." * 9)  # two terms of five
