"""Departures that docs/method.md names are those of the configuration."""

from tests.composition import ROOT, composed

TEXT = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")


def test_the_size_of_a_group_is_among_the_departures_with_its_cost():
    size = composed().algorithm.group_size
    assert size == 8
    assert f"A prompt gets {size} completions, where the GRPO paper (arXiv 2402.03300) has 64" in TEXT
    assert "That is an eighth of the" in TEXT
    assert "`algorithm.group_size=64` restores it" in TEXT
