"""docs/reproduce.md says what experiments/README.md says, and every command in it can be typed."""

import re
import runpy
from pathlib import Path

import pytest

from gainrl.functional.paired import fewest_pairs
from tests.composition import CONF, ROOT, options, settings

PAGE = ROOT / "docs" / "reproduce.md"
COMMANDS = re.findall(r"(gainrl-[a-z]+ [^`\n#]*)", PAGE.read_text(encoding="utf-8"))
GROUPS = {path.name: options(path.name) for path in CONF.iterdir() if path.is_dir()}


def test_the_page_is_what_its_script_writes():
    script = runpy.run_path(str(ROOT / "docs" / "reproduce.py"))
    assert PAGE.read_text(encoding="utf-8") == script["page"](), "type: python docs/reproduce.py"


def test_every_experiment_of_the_paper_is_on_the_page_and_has_an_embedded_sibling_or_says_why_not():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if "experiment=" in line and line[0] == "|"]
    named = {re.search(r"experiment=(\S+)", row)[1]: row for row in rows if "ablation" not in row}
    ablations = {name: row for row in rows for name in re.findall(r"`(ablation_\w+)`", row)}
    named |= ablations
    paper = {name for name in options("experiment") if not (name.endswith("_embedded") or name.startswith("testbed"))}
    assert set(named) == paper
    for name, row in named.items():
        assert (f"{name}_embedded" in options("experiment")) != row.endswith("writes no programs |")


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_every_word_of_a_command_names_something(command):
    for word in command.split()[1:]:
        key, _, values = word.lstrip("+").partition("=")
        group = key.split("@")[0]
        if group in GROUPS:
            for value in [values] if values in ("", "...") else values.split(","):
                assert value in ("", "...") or value in GROUPS[group], word
        elif key == "figures":
            assert values.strip("[]") in ("maps", "epochs", "quartiles", "gradients")


def test_values_known_at_second_hand_are_tagged():
    text = PAGE.read_text(encoding="utf-8")
    for number in ("92.0%", "3.33 times", "+4.72", "2.5 times", "2.2 times", "70 to 80"):
        assert number in text
    cells = [cell for line in text.splitlines() if line.startswith("|") for cell in line.split("|")]
    valued = [cell for cell in cells if re.search(r"\d times|\d%|70 to 80", cell) and "gainrl-" not in cell]
    assert len(valued) >= 6
    assert all("[s]" in cell for cell in valued)


def test_every_evaluation_set_of_the_tables_is_named():
    text = PAGE.read_text(encoding="utf-8")
    for name in (
        "gsm8k",
        "math500",
        "amc23",
        "aime24",
        "olympiadbench",
        "minerva",
        "humaneval",
        "mbpp",
        "codecontests",
    ):
        assert f"`{name}`" in text
    assert "54 cells" in text  # three models, six sets, three arms


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)", PAGE.read_text(encoding="utf-8")):
        assert (Path(PAGE.parent) / target).exists()


def test_an_ablation_is_the_arm_of_the_cell_that_its_command_names():
    script = runpy.run_path(str(ROOT / "docs" / "reproduce.py"))
    for _, same in script["ABLATIONS"]:
        for baseline, name in same.items():
            assert settings(f"experiment={name}") == settings("experiment=gsm8k_0.5b", f"baseline={baseline}")


def test_no_comparison_has_too_few_seeds_to_be_supported():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "|" and "baseline=" in line]
    rows = [row for row in rows if "experiment=" in row]
    assert len(rows) > 8
    for row in rows:
        arms = len(re.search(r"baseline=(\S+)", row)[1].split(","))
        seeds = int(re.search(r"seed=range\(0,(\d+)\)", row)[1])
        assert seeds >= fewest_pairs(arms - 1)
