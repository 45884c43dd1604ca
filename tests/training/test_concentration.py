"""What is measured of the prompts that train: one definition, the signal's, unless another is asked for."""

import pytest

from gainrl.signals.angle import AngleSignal
from gainrl.signals.length import LengthSignal
from gainrl.signals.residual import ResidualSignal
from gainrl.training.concentration import probe_of
from gainrl.training.concentration_settings import Concentration, ConcentrationSettings
from tests.architectures import build_policy

MOVED = AngleSignal(intra=0.0, inter=2.0, layer=0, activation="block_output", diagonal=False)


@pytest.mark.parametrize(
    ("signal", "angle", "typed_at"),
    [
        (MOVED, MOVED, "signal"),
        (ResidualSignal(base=MOVED), MOVED, "signal.base"),
        (LengthSignal(), AngleSignal(), "concentration"),
        (None, AngleSignal(), "concentration"),
    ],
)
def test_the_concentration_is_that_of_the_signal_or_the_published_one(signal, angle, typed_at):
    assert ConcentrationSettings().of(signal) == Concentration(angle, False, typed_at)


def test_what_is_typed_counts_where_no_signal_contradicts_it():
    typed = ConcentrationSettings(tokens="prompt_and_completion", layer=0, diagonal=False)
    assert typed.of(LengthSignal()) == Concentration(AngleSignal(layer=0, diagonal=False), True, "concentration")
    assert typed.of(AngleSignal(layer=0, diagonal=False)).with_completions


@pytest.mark.parametrize(
    ("given", "path"), [(AngleSignal(layer=-1), "signal"), (ResidualSignal(base=AngleSignal(layer=-1)), "signal.base")]
)
def test_a_contradiction_is_refused_with_two_ways_out_that_work(given, path):
    with pytest.raises(
        ValueError, match=rf"concentration.layer=0 contradicts {path}.layer=-1.*Type {path}.layer=0 and"
    ):
        ConcentrationSettings(layer=0).of(given)
    followed = AngleSignal(layer=0)
    assert ConcentrationSettings().of(followed).angle == followed
    assert ConcentrationSettings(layer=0, follow_signal=False).of(given).angle == followed


def test_terms_that_would_do_nothing_and_unknown_tokens_are_refused():
    with pytest.raises(ValueError, match=r"concentration\.inter=0\.5 would do nothing"):
        ConcentrationSettings(tokens="prompt_and_completion", inter=0.5)
    with pytest.raises(ValueError, match=r"concentration\.tokens='all' is unknown"):
        ConcentrationSettings(tokens="all")


@pytest.mark.parametrize(("signal", "path"), [(AngleSignal(), "signal"), (LengthSignal(), "concentration")])
def test_a_model_without_the_activation_is_refused_with_advice_that_works_when_it_is_followed(signal, path):
    """OPT's blocks have no module named mlp."""
    model = build_policy("opt").model
    with pytest.raises(ValueError, match=rf"use {path}.activation=block_output"):
        probe_of(ConcentrationSettings().of(signal), model)
    advice = {"activation": "block_output"}
    if path == "signal":
        followed = ConcentrationSettings().of(AngleSignal(**advice))
    else:
        followed = ConcentrationSettings(**advice).of(signal)
    assert probe_of(followed, model).tap.activation == "block_output"
