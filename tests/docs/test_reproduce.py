"""docs/reproduce.md says what experiments/README.md says, and every command in it can be typed."""

import re
import runpy
from pathlib import Path

import pytest

from tests.composition import CONF, ROOT, options, settings

PAGE = ROOT / "docs" / "reproduce.md"
COMMANDS = re.findall(r"(gainrl-[a-z]+ [^`\n#]*)", PAGE.read_text(encoding="utf-8"))
GROUPS = {path.name: options(path.name) for path in CONF.iterdir() if path.is_dir()}


def test_the_page_is_what_its_script_writes():
    script = runpy.run_path(str(ROOT / "docs" / "reproduce.py"))
    assert PAGE.read_text(encoding="utf-8") == script["page"](), "type: python docs/reproduce.py"


def test_every_experiment_of_the_paper_is_on_the_page_and_has_an_embedded_sibling():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    named = {name for row in rows for name in re.findall(r"`(\S+?)`", row)}
    ours = ("testbed", "smollm2")  # cells that the paper does not have
    paper = {name for name in options("experiment") if not (name.endswith("_embedded") or name.startswith(ours))}
    assert named == paper
    assert {f"{name}_embedded" for name in paper} <= set(options("experiment"))


def test_every_cell_has_a_command():
    script = runpy.run_path(str(ROOT / "docs" / "reproduce.py"))
    cells = {name for _, _, names in script["TABLES"] for name in names}
    assert cells == {re.search(r"experiment=(\S+)", line)[1] for line in COMMANDS if "seed=range" in line}


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


def test_every_value_of_the_paper_names_its_source():
    text = PAGE.read_text(encoding="utf-8")
    for number in ("92.0%", "3.33 times", "+4.72", "2.5 times", "2.2 times", "70 to 80"):
        assert number in text
    tables = text.partition("## Commands")[0]
    cells = [cell for line in tables.splitlines() if line.startswith("|") for cell in line.split("|")]
    valued = [cell for cell in cells if re.search(r"\d times|\d%|70 to 80|better than", cell)]
    assert len(valued) >= 7
    assert all(re.search(r"\[(a|s1|s2)\]", cell) for cell in valued)


def test_the_numbers_of_seeds_follow_from_the_published_spreads():
    text = PAGE.read_text(encoding="utf-8")
    # 7.85 x 1.47^2 = 16.96 and 7.85 x 2.03^2 = 32.3.
    assert "GSM8K | 1.47 | 17 |" in text
    assert "MATH-500 | 2.03 | 33 |" in text


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
