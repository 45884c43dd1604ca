import numpy as np
import pytest

from gainrl.datasets.arrow import ArrowProblems
from gainrl.datasets.checks import clean
from gainrl.datasets.mixture import mixture
from gainrl.datasets.splits import DataSplits
from gainrl.types import Problem


def problems(name: str, size: int, level: int | None = None) -> ArrowProblems:
    made = [
        Problem(
            id=str(i),
            question=f"{name}, number {i}: how many?",
            reference_answer=str(i),
            level=level,
            source=f"{name}/train",
        )
        for i in range(size)
    ]
    return ArrowProblems.from_problems(made, name=name)


def splits(name: str, size: int, held_out: int = 2, **more) -> DataSplits:
    return DataSplits(train=problems(name, size, **more), held_out=problems(f"{name} test", held_out))


def counts(pool: ArrowProblems) -> dict[str, int]:
    names, numbers = np.unique([problem.source_name for problem in pool], return_counts=True)
    return dict(zip(names.tolist(), numbers.tolist(), strict=True))


def test_problems_keep_what_they_have_and_say_which_data_set_they_are_of():
    mixed = mixture(sources={"a": splits("x", 3, level=2), "b": splits("y", 2)})
    assert [problem.id for problem in mixed.train] == ["a/0", "a/1", "a/2", "b/0", "b/1"]
    assert [problem.source for problem in mixed.train] == ["x/train/a"] * 3 + ["y/train/b"] * 2
    assert mixed.train[1].question == "x, number 1: how many?"
    assert mixed.train.column("level").tolist() == [2, 2, 2, -1, -1]
    assert counts(mixed.held_out) == {"a": 2, "b": 2}
    assert mixed.compare_by == "source"
    assert mixed.warm_start is mixed.train


def test_without_weights_all_problems_train_and_with_them_none_twice():
    sources = {"a": splits("x", 30), "b": splits("y", 8)}
    assert counts(mixture(sources=sources).train) == {"a": 30, "b": 8}
    assert counts(mixture(sources=sources, weights={"a": 1, "b": 1}).train) == {"a": 8, "b": 8}
    assert counts(mixture(sources=sources, weights={"a": 3, "b": 1}).train) == {"a": 24, "b": 8}
    assert counts(mixture(sources=sources, weights={"a": 0.9, "b": 0.1}).train) == {"a": 30, "b": 3}
    thinned = mixture(sources=sources, weights={"a": 1, "b": 1})
    assert [problem.id for problem in thinned.train][:8] == [f"a/{i}" for i in (0, 4, 8, 12, 17, 21, 25, 29)]
    assert counts(thinned.warm_start) == {"a": 30, "b": 8}  # one warm start, whatever the weights


def test_a_selection_of_a_set_is_what_the_mixture_holds():
    part = problems("x", 6).select(np.array([5, 2]))
    mixed = mixture(sources={"a": DataSplits(train=part, held_out=None), "b": splits("y", 2)})
    assert [problem.id for problem in mixed.train] == ["a/5", "a/2", "b/0", "b/1"]
    assert [problem.question[:11] for problem in mixed.train][:2] == ["x, number 5", "x, number 2"]


def test_equal_ids_are_no_repetition_and_a_test_problem_of_one_set_trains_in_none():
    leaky = DataSplits(train=problems("x", 4), held_out=problems("y", 1))
    cleaned, findings = clean(mixture(sources={"a": leaky, "b": splits("y", 3)}))
    assert [problem.id for problem in cleaned.train] == ["a/0", "a/1", "a/2", "a/3", "b/1", "b/2"]
    assert ["1 problems of an evaluation set" in str(finding) for finding in findings] == [True]


def test_the_fingerprint_follows_sets_names_and_weights():
    sources = {"a": splits("x", 4), "b": splits("y", 4)}
    renamed = {"c": sources["a"], "b": sources["b"]}
    found = [
        mixture(sources=sources).train,
        mixture(sources=renamed).train,
        mixture(sources=sources, weights={"a": 1, "b": 2}).train,
        mixture(sources={"a": splits("x", 4), "b": splits("z", 4)}).train,
    ]
    assert len({problems.fingerprint for problems in found}) == 4
    assert mixture(sources=dict(sources)).train.fingerprint == found[0].fingerprint


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"sources": {}}, "has 0: type dataset@dataset.sources.easy=gsm8k"),
        ({"weights": {"a": 1}}, "dataset.weights names a, and the sources are a, b"),
        ({"weights": {"a": 1, "b": 0}}, "leave the source out with '~dataset.sources.b'"),
        ({"sources": {"a/b": splits("x", 2), "c": splits("y", 2)}}, "must not hold a '/'"),
        (
            {"sources": {"a": splits("x", 2), "b": DataSplits(None, problems("y", 2))}, "weights": {"a": 1, "b": 1}},
            "dataset.sources.b has no training problems",
        ),
    ],
)
def test_what_makes_no_mixture_is_refused(settings, text):
    with pytest.raises(ValueError, match=text):
        mixture(**{"sources": {"a": splits("x", 2), "b": splits("y", 2)}} | settings)


def test_a_set_that_only_evaluates_is_evaluated():
    mixed = mixture(sources={"a": splits("x", 3), "b": DataSplits(None, problems("y", 2))})
    assert counts(mixed.train) == {"a": 3}
    assert counts(mixed.held_out) == {"a": 2, "b": 2}
