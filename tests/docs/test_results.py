"""docs/results.md says what its committed rows say."""

import re
import runpy

from gainrl.report.duplicates import trajectory
from gainrl.report.rows import read_rows
from tests.composition import ROOT

PAGE = ROOT / "docs" / "results.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_every_table_is_made_from_the_committed_rows():
    script = runpy.run_path(str(ROOT / "docs" / "results.py"))
    assert script["page"](TEXT) == TEXT, "type: python docs/results.py"
    assert set(script["TABLES"]) == set(re.findall(r"<!-- rows: ([\w.]+) -->", TEXT))
    by_hand = re.sub(r"<!-- rows: .*?<!-- end -->", "", TEXT, flags=re.DOTALL)
    assert not re.search(r"^\|", by_hand, re.MULTILINE)


def test_tables_fit_a_terminal():
    assert max(len(line) for line in TEXT.splitlines() if line.startswith("|")) <= 125


def test_the_differences_that_the_readme_names_are_in_a_table():
    finding = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Results so far")[2]
    named = re.findall(r"[+−]\d\.\d+ \[[^]]+\]", finding.partition("\n## ")[0])
    assert len(named) >= 2
    assert all(f"| {difference} |" in TEXT for difference in named)


def test_the_page_counts_rows_and_trajectories_as_they_are():
    paths = sorted(set((ROOT / "docs" / "results").glob("*.csv")) - {ROOT / "docs" / "results" / "adarft.csv"})
    runs = [run for path in paths for run in read_rows(path)]  # of the first round
    distinct = {(run.seed, trajectory(run)) for run in runs}
    assert f"{len(runs)} rows hold {len(distinct)} distinct trajectories" in " ".join(TEXT.split())
