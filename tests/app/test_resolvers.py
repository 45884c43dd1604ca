from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from gainrl.report.plan import arm_name


def test_an_arm_is_named_after_its_overrides():
    assert arm_name("") == "default"
    assert arm_name("baseline-gain_rl,debug-fast") == "baseline-gain_rl,debug-fast"
    assert arm_name("curriculum.width-0.2") == "curriculum.width-0.2"


@given(st.text(max_size=300))
def test_a_name_is_one_short_path_component_that_stays_where_it_is_put(text):
    name = arm_name(text)
    assert 0 < len(name) <= 80
    assert "/" not in name
    assert name not in (".", "..")
    assert not name.startswith(".")


@given(st.lists(st.text(alphabet="ab/._-,", max_size=90), min_size=2, max_size=6, unique=True))
def test_different_overrides_have_different_names(texts):
    texts = [text for text in texts if text != "default"]
    assert len({arm_name(text) for text in texts}) == len(texts)


def test_resolvers_are_there_once_the_module_is_imported():
    config = OmegaConf.create(
        {"a": "${mul:3,4}", "b": "${floordiv:7,2}", "c": "${path_name:null}", "d": "${arm_name:x/y}"}
    )
    assert (config.a, config.b, config.c) == (12, 3, "default")
    assert config.d.startswith("x_y-")
