"""A sample of the malformed inputs of `benchmarks.malformed`, and any settings of any type."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from benchmarks.malformed.__main__ import cases
from benchmarks.malformed.case import distinct
from benchmarks.malformed.command import sound_model, typed
from benchmarks.malformed.settings import leaves
from gainrl.app.errors import ConfigError
from gainrl.app.validate import validate
from gainrl.app.value_types import check_value_types
from tests.composition import composed

SAMPLE = [case for case in cases(60, seed=7) if case.kind != "settings"][:10]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return sound_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: f"{case.kind}: {case.name}")
def test_a_malformed_input_ends_in_one_message_and_writes_nothing(case, tmp_path, model):
    ending = typed(case, tmp_path / "here", model)
    assert ending.faults(case) == [], ending.text


def test_there_are_five_hundred_of_five_kinds_and_the_same_again():
    made = cases(500, seed=0)
    assert len({case.key for case in made}) == 500
    assert {case.kind for case in made} == {"data", "settings", "template", "reward", "model"}
    assert made[:50] == cases(500, seed=0)[:50]


def test_more_inputs_than_can_be_made_are_refused():
    with pytest.raises(ValueError, match="only 1 different inputs"):
        list(distinct([lambda rng: SAMPLE[0]], 2, seed=0))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab${}.?", max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", min_size=1, max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(st.integers(min_value=0), VALUES)
@settings(max_examples=25, deadline=None)
def test_any_value_of_any_setting_is_checked_without_another_exception(place, value):
    config = composed("dataset=arithmetic")
    path, _ = leaves()[place % len(leaves())]
    if OmegaConf.select(config, path) is None or "$" in repr(value):
        return
    OmegaConf.update(config, path, value, merge=False)
    try:
        validate(config)
        check_value_types(config)
    except ConfigError as fault:
        message = str(fault)
        assert path.rpartition(".")[2] in message
