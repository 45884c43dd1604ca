import csv
import re
import subprocess
import sys
from typing import ClassVar

import pytest

from gainrl.report import style
from gainrl.report.cli import cli
from gainrl.report.wandb_source import read_project
from tests.report.synthetic import write_run

ARMS = {"vanilla_grpo": 0.3, "oracle": 0.4, "hard_to_easy": 0.2, "odd_name<&>_50%": 0.3}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for arm, gain in ARMS.items():
        for seed in range(8):
            write_run(root, arm, seed, gain=gain, center=arm == "oracle")
    write_run(root, "oracle", 8, status="failed", fault="the disk is full", until=12)
    cli([str(root), "--title", "A sweep", "--margin", "0.02"])
    return root / "report"


def test_the_page_has_the_five_parts_in_order(report):
    page = (report / "report.html").read_text()
    headings = re.findall(r"<h2[^>]*>([^<]+)</h2>", page)
    assert headings[:5] == ["Learning curves", "Arms", "Differences", "Diagnostics", "Missing and failed jobs"]


def test_the_page_needs_nothing_else(report):
    page = (report / "report.html").read_text()
    assert "<script" not in page
    assert set(re.findall(r'(?:src|href)="(.{0,9})', page)) - {"data:imag"} == {"#section-"}
    assert "url(" not in page
    assert page.count("<img") == 6


def test_names_are_escaped_in_html_and_latex(report):
    page = (report / "report.html").read_text()
    assert "odd_name&lt;&amp;&gt;_50%" in page
    assert "odd_name<&>" not in page
    assert r"odd\_name$<$\&$>$\_50\%" in (report / "tables" / "arms.tex").read_text()


def test_conclusions_and_failed_jobs_are_on_both_pages(report):
    for page in ((report / "report.html").read_text(), (report / "report.md").read_text()):
        assert "gate open" in page
        assert "worse" in page
        assert "the disk is full" in page


def test_every_table_is_written_as_csv_and_latex(report):
    folder = report / "tables"
    names = {path.stem for path in folder.glob("*.csv")}
    assert names == {path.stem for path in folder.glob("*.tex")}
    assert {"arms", "budget_to_target", "differences_final_score", "diagnostics", "open_jobs"} <= names
    for path in folder.glob("*.tex"):
        text = path.read_text()
        rows = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
        assert {line.replace(r"\&", "").count("&") for line in rows} == {rows[0].replace(r"\&", "").count("&")}


def test_csv_tables_hold_plain_numbers(report):
    with open(report / "tables" / "differences_final_score.csv", newline="") as file:
        rows = {row["arm"]: row for row in csv.DictReader(file)}
    assert float(rows["oracle"]["difference_low"]) > 0
    assert rows["oracle"]["conclusion"] == "better"
    assert float(rows["hard_to_easy"]["difference_high"]) < 0


def test_figures_of_the_markdown_page_exist(report):
    links = re.findall(r"!\[[^]]*\]\(([^)]+)\)", (report / "report.md").read_text())
    assert len(links) == 6
    assert all((report / link).exists() and (report / link).with_suffix(".pdf").exists() for link in links)


def test_the_same_runs_give_the_same_page(report, tmp_path):
    cli(
        [
            str(report.parent),
            "--title",
            "A sweep",
            "--margin",
            "0.02",
            "--out",
            str(tmp_path),
        ]
    )
    same = (tmp_path / "report.html").read_text() == (report / "report.html").read_text()
    assert same  # two pages of a megabyte are nothing to print


@pytest.mark.usefixtures("quick_figures")
def test_a_report_in_the_sweep_folder_is_no_run(report, capsys, tmp_path):
    cli([str(report.parent), "--out", str(tmp_path)])
    assert capsys.readouterr().err.startswith("33 runs of 4 arms, 32 finished")


@pytest.mark.usefixtures("quick_figures")
def test_one_arm_alone_still_gives_a_page(tmp_path):
    write_run(tmp_path, "gain_rl", 0)
    cli([str(tmp_path)])
    assert "No other arm shares a base" in (tmp_path / "report" / "report.html").read_text()


def test_wrong_values_are_answered_in_words(tmp_path):
    write_run(tmp_path, "gain_rl", 0)
    for given, answer in (
        (["--margin", "0"], "type --margin 0.01"),
        (["--reference", "nobody"], "the arms are: gain_rl"),
        (["--targets", "95"], r"shares in \(0, 1\]"),
    ):
        with pytest.raises(SystemExit, match=answer):
            cli([str(tmp_path), *given])


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="no runs found"):
        cli([str(tmp_path)])


def test_neither_torch_nor_lightning_is_imported():
    code = (
        "import sys, gainrl.report.cli, gainrl.report.document, gainrl.report.html; "
        "sys.exit(bool({'torch', 'lightning', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_looks_differ_for_forty_arms_and_stay_with_their_arm():
    labels = [f"arm{index:02d}" for index in range(40)]
    looks = style.looks(labels, "arm00")
    assert len({(look.color, look.dashes, look.width) for look in looks.values()}) == 40
    assert style.looks(labels[::-1], "arm00") == looks


class Project:
    """What `wandb.Api` gives, from memory."""

    class Run:
        config: ClassVar = {"seed": 3, "run": {"arm": "baseline-gain_rl", "experiment": None}}
        url, group, name, state = "https://wandb.example/r", "baseline-gain_rl", "baseline-gain_rl-s3", "crashed"

        def scan_history(self):
            return iter(
                [{"step": 1, "prompts_seen": 32, "eval/accuracy": 0.5}, {"step": 0, "prompts_seen": 0, "x": "y"}]
            )

    def runs(self, path):
        return [self.Run()]


def test_a_wandb_project_gives_the_same_runs():
    run = read_project("team/project", api=Project())[0]
    assert (run.arm, run.seed, run.status) == ("baseline-gain_rl", 3, "failed")
    assert run.columns["step"].tolist() == [0, 1]
    budgets, scores = run.evaluations("prompts_seen", "eval/accuracy")
    assert (budgets.tolist(), scores.tolist()) == ([32.0], [0.5])


def test_a_server_out_of_reach_is_answered_in_words():
    class Unreachable:
        def runs(self, path):
            raise ConnectionError("no route to host")

    with pytest.raises(ValueError, match=r"no route to host.*wandb login.*run directories hold everything"):
        read_project("team/project", api=Unreachable())
