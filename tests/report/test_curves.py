"""curves.png of a run: which panels, what is called what."""

import pytest
from matplotlib import pyplot as plt

from gainrl.report.curves import draw_curves, run_title
from tests.report.synthetic import write_run


def drawn(tmp_path, monkeypatch, **options):
    """The figure of a run, before it is closed."""
    figures = []
    monkeypatch.setattr(plt, "close", figures.append)
    folder = write_run(tmp_path, "gain_rl", 0, **options)
    draw_curves(folder / "metrics.csv", folder / "curves.png", title="a run")
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    return figures[0]


def names(axis):
    return [text.get_text() for text in axis.get_legend().get_texts()]


def test_levels_are_named_in_their_order(tmp_path, monkeypatch):
    axis = drawn(tmp_path, monkeypatch, levels=4).axes[0]
    assert axis.get_title(loc="left") == "Held-out accuracy (greedy) by level"
    assert names(axis) == ["1", "2", "3", "4", "mean"]


def test_a_dozen_families_have_names_with_where_they_ended(tmp_path, monkeypatch):
    axis = drawn(tmp_path, monkeypatch, levels=12, families=True).axes[0]
    assert axis.get_title(loc="left") == "Held-out accuracy (greedy) by family"
    listed = names(axis)
    assert len(listed) == 13
    assert listed[0].startswith("family_1  0.")  # the best at the end comes first
    assert len({(line.get_color(), str(line._dash_pattern)) for line in axis.lines}) == 13


@pytest.mark.parametrize(
    ("config", "title"),
    [
        ({"seed": 2, "run": {"overrides": []}}, "the default, seed 2"),
        (
            {
                "seed": 3,
                "model": {"seed": 1},
                "run": {
                    "experiment": "smollm2",
                    "overrides": ["experiment=smollm2", "baseline=gain_rl", "model.seed=1"],
                },
            },
            "smollm2, gain_rl, base 1, seed 3",
        ),
        (
            {"seed": 0, "run": {"overrides": ["curriculum.width=0.2", "logger=none", "algorithm.group_size=4"]}},
            "width 0.2, group_size 4, seed 0",
        ),
    ],
)
def test_a_title_says_what_was_typed_that_decides_the_numbers(config, title):
    assert run_title(config) == title


def test_long_titles_are_cut_before_the_seed():
    title = run_title({"seed": 7, "run": {"overrides": [f"a.setting_number_{index}=0.12345" for index in range(20)]}})
    assert len(title) < 120
    assert title.endswith("…, seed 7")
