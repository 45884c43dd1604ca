"""Values of another type are refused by the annotations of what would take them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest

from gainrl.app.errors import ConfigError
from gainrl.app.value_types import check_value_types, described, fits
from tests.composition import composed, options


@pytest.mark.parametrize(
    ("value", "wanted", "right"),
    [
        (1, int, True),
        (True, int, False),
        (1.0, int, False),
        ("1", int, False),
        (1, float, True),
        ("many", float, False),
        (None, float | None, True),
        (None, float, False),
        ("auto", int | str, True),
        ([1], int | str, False),
        (0, bool, False),
        (5, str, False),
        ([0.1], float, False),
        ([1, 2], Sequence[int], True),
        (["a"], Sequence[int], False),
        ("ab", Sequence[str], False),
        ({"a": 1}, Mapping[str, int], True),
        (5, Mapping[str, int], False),
        ("anything", Literal["a", "b"], True),  # the constructor knows the words and says them
        ([], Literal["a", "b"], False),
        (object(), Any, True),
    ],
)
def test_a_value_fits_an_annotation(value, wanted, right):
    assert fits(value, wanted) is right


def test_annotations_in_words():
    assert described(int | None) == "a whole number or null"
    assert described(Sequence[str] | str) == "a list or a text"
    assert described(Literal["a", "b"]) == "one of a, b"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("curriculum.gamma=[0.1]", r"curriculum.gamma=\[0.1\] must be a number"),
        ("reward.time_limit_seconds=long", "reward.time_limit_seconds=long must be a number"),
        ("signal.intra={a: 1}", r"signal.intra=\{'a': 1\} must be a number"),
        ("checkpoint.every_minutes=often", "checkpoint.every_minutes=often must be a number or null"),
        ("rollout.temperature=[0.1]", "rollout.temperature=.* must be a number"),
        ("model.words=5", "model.words=5 must be a list"),
        ("template.plain_form=5", "template.plain_form=5 must be a text"),
        ("trainer.compile=1", "trainer.compile=1 must be true or false"),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_one_it_takes(override, message):
    added = "++" if override.startswith("template") else ""
    with pytest.raises(ConfigError, match=message):
        check_value_types(composed("reward=math", f"{added}{override}"))


def test_the_setting_that_was_typed_is_named_and_not_those_that_refer_to_it():
    with pytest.raises(ConfigError) as caught:
        check_value_types(composed("rollout.top_p=high", "optimizer.optimizer.lr=small"), imports=False)
    assert str(caught.value).splitlines() == [
        "optimizer.optimizer.lr=small must be a number",
        "rollout.top_p=high must be a number",
    ]


@pytest.mark.parametrize("group", ["curriculum", "signal", "algorithm", "admission", "reward", "rollout", "trainer"])
def test_every_option_as_shipped_is_of_the_types_it_declares(group):
    for option in options(group):
        extra = ["reward.path=tests.composition:coin"] if (group, option) == ("reward", "custom") else []
        extra += ["reward.rewards={words: {_target_: tests.composition.coin}}"] if option == "by_source" else []
        extra += ["signal.order=x"] if (group, option) == ("signal", "published") else []
        for imports in (False, True):
            check_value_types(composed(f"{group}={option}", *extra), imports=imports)
