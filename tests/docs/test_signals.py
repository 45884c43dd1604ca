"""docs/signals.md names every signal and every option of the signals, of curriculum=gain and of gainrl-rank."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "signals.md").read_text()
SIGNALS = sorted(path.stem for path in (ROOT / "conf" / "signal").glob("*.yaml"))


def settings(path):
    return {
        key: value for key, value in yaml.safe_load(path.read_text()).items() if key not in ("_target_", "defaults")
    }


def as_written(value):
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def rows_of(heading):
    section = re.search(rf"^## {heading}$(.*?)(?=^## |\Z)", TEXT, re.S | re.M)[1]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")
    ]


def test_the_first_table_lists_the_signals_that_exist():
    assert sorted(re.findall(r"^\| `(\w+)` \|[^|]*\| (?:high|low|as its base) \|", TEXT, re.M)) == SIGNALS


@pytest.mark.parametrize("signal", [name for name in SIGNALS if name not in ("residual", "matched")])
def test_options_of_a_signal_are_listed_with_their_defaults(signal):
    listed = {row[1].strip("`"): row[2].strip("`") for row in rows_of("Options") if row[0] == f"`{signal}`"}
    expected = settings(ROOT / "conf" / "signal" / f"{signal}.yaml")
    assert listed == {key: as_written(value) for key, value in expected.items()}


def test_options_of_the_curriculum_are_listed_with_their_defaults():
    listed = {}
    for names, defaults, *_ in rows_of("In training"):
        found = re.findall(r"`([^`]+)`", names), re.findall(r"`([^`]+)`", defaults)
        if len(found[0]) == len(found[1]):
            listed |= dict(zip(*found, strict=True))
    expected = settings(ROOT / "conf" / "curriculum" / "gain.yaml")
    assert {key: listed.get(key) for key in expected} == {key: as_written(value) for key, value in expected.items()}


def test_options_of_the_command_are_listed_with_their_defaults():
    listed = {row[0].strip("`"): row[1].strip("`") for row in rows_of("gainrl-rank")}
    options = {"published", "split", "limit", "overlong", "table", "resamples"}
    expected = settings(ROOT / "conf" / "rank.yaml")
    assert options <= set(expected)
    assert {key: listed.get(key) for key in options} == {key: as_written(expected[key]) for key in options}
