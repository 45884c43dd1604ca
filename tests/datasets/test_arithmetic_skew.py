"""Pools that are mostly easy or mostly hard, with the same held-out problems."""

from collections import Counter

import pytest

from gainrl.datasets.arithmetic import arithmetic, level_sizes


@pytest.mark.parametrize(("skew", "sizes"), [("flat", [70, 70, 70]), ("easy", [120, 60, 30]), ("hard", [30, 60, 120])])
def test_a_skewed_pool_doubles_from_level_to_level_and_keeps_its_size(skew, sizes):
    assert level_sizes(3, 70, skew) == sizes


def test_every_level_keeps_a_problem():
    assert min(level_sizes(8, 1, "easy")) == 1


def test_an_unknown_skew_is_refused():
    with pytest.raises(ValueError, match="flat, easy, hard"):
        level_sizes(3, 10, "medium")


def test_skewed_pools_share_their_held_out_problems(tmp_path):
    def splits(skew):
        return arithmetic(terms=[3, 4, 5], train_per_level=14, held_out_per_level=5, skew=skew, cache_dir=str(tmp_path))

    flat, easy, hard = (splits(skew) for skew in ("flat", "easy", "hard"))
    assert Counter(easy.train.column("level").tolist()) == {1: 24, 2: 12, 3: 6}
    assert Counter(hard.train.column("level").tolist()) == {1: 6, 2: 12, 3: 24}
    questions = [[problem.question for problem in split.held_out] for split in (flat, easy, hard)]
    assert questions[0] == questions[1] == questions[2]
    assert not set(questions[0]) & {problem.question for problem in hard.train}


def test_pools_of_every_skew_share_the_lessons_of_the_warm_start(tmp_path):
    def splits(skew):
        return arithmetic(terms=[3, 4], train_per_level=9, held_out_per_level=3, skew=skew, cache_dir=str(tmp_path))

    flat, easy, hard = (splits(skew) for skew in ("flat", "easy", "hard"))
    assert flat.warm_start is flat.train
    assert easy.warm_start.fingerprint == hard.warm_start.fingerprint == flat.train.fingerprint
    assert easy.train.fingerprint != hard.train.fingerprint
