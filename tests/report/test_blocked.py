"""Comparisons within the values of a setting, over experiments as arms, and in one task only."""

import csv

import numpy as np
import pytest
import yaml

from gainrl.functional.statistics import holm
from gainrl.report.blocked import make_sweeps, value_of
from gainrl.report.cli import cli
from gainrl.report.comparisons import measure
from gainrl.report.conclusions import compare, conclude_all
from gainrl.report.jobs import open_jobs
from gainrl.report.reader import read_runs
from gainrl.report.summaries import axes_of
from gainrl.report.sweep import Settings
from tests.report.synthetic import write_run

SIZES = {"2": 0.1, "4": 0.05, "16": -0.1}  # what gain_rl adds


@pytest.fixture
def factorial(tmp_path):
    """gain_rl and vanilla_grpo with three group sizes; the level of a size moves both arms."""
    for size, added in SIZES.items():
        for seed in range(6):
            for arm, gain in (("vanilla_grpo", 0.2), ("gain_rl", 0.2 + added)):
                folder = write_run(
                    tmp_path / f"size{size}", arm, seed, gain=gain, noise=0.002, start=0.2 + 0.02 * int(size)
                )
                path = folder / "config.yaml"
                config = yaml.safe_load(path.read_text())
                config["run"]["overrides"].append(f"algorithm.group_size={size}")
                config["algorithm"]["group_size"] = int(size)
                path.write_text(yaml.safe_dump(config))
    return tmp_path


def sweeps_of(root, **settings):
    return make_sweeps(read_runs([root]), Settings(**settings))[0]


def test_each_value_is_a_comparison_of_its_own_in_the_order_of_the_numbers(factorial):
    sweeps = sweeps_of(factorial, within=("algorithm.group_size",))
    assert [sweep.block for sweep in sweeps] == ["group_size=2", "group_size=4", "group_size=16"]
    assert all(sweep.labels == ["vanilla_grpo", "gain_rl"] and not sweep.guessed for sweep in sweeps)


def test_no_difference_is_taken_across_values(factorial):
    sweeps = sweeps_of(factorial, within=("algorithm.group_size",))
    for sweep, size in zip(sweeps, SIZES, strict=True):
        runs = [run for label in sweep.labels for run in sweep.chosen(label)]
        assert len(runs) == 12
        assert {value_of(run, "algorithm.group_size") for run in runs} == {size}
        row = measure(sweep, axes_of(sweep))[0]
        assert row.interval.estimate == pytest.approx(SIZES[size] * (1 - np.exp(-3)), abs=0.01)


def test_without_it_one_reference_of_several_would_be_a_guess(factorial):
    (sweep,) = sweeps_of(factorial)
    assert sweep.guessed


def test_the_correction_runs_over_all_blocks(factorial):
    sweeps = sweeps_of(factorial, within=("algorithm.group_size",))
    rows = conclude_all(sweeps, [measure(sweep, axes_of(sweep)) for sweep in sweeps])
    primary = [row for part in rows for row in part if row.primary]
    assert len(primary) == 3
    np.testing.assert_allclose([row.p_holm for row in primary], holm([row.p for row in primary]))


def test_a_value_is_read_from_the_configuration_where_it_was_not_typed(factorial):
    folder = write_run(factorial / "default", "gain_rl", 7)
    assert value_of(read_runs([folder.parent])[0], "algorithm.group_size") == "8"


def test_an_unknown_setting_or_task_is_answered_with_those_there_are(factorial):
    with pytest.raises(ValueError, match=r"did you mean 'algorithm.group_size'\?"):
        sweeps_of(factorial, within=("algorithm.groupsize",))
    with pytest.raises(ValueError, match="the tasks are: no experiment"):
        sweeps_of(factorial, task="gsm8k")


def test_a_block_that_has_only_begun_is_left_out_and_its_jobs_are_named(factorial):
    (factorial / "size2" / "baseline-gain_rl" / "s0" / "record.json").write_text('{"status": "failed"}')
    for path in factorial.glob("size16/*/s*/metrics.csv"):
        path.unlink()
    for path in factorial.glob("size16/*/s*/record.json"):
        path.write_text('{"status": "running"}')
    runs = read_runs([factorial])
    sweeps, unscored = make_sweeps(runs, Settings(within=("algorithm.group_size",)))
    assert [sweep.block for sweep in sweeps] == ["group_size=2", "group_size=4"]
    jobs = open_jobs(sweeps, [factorial], known=runs, unscored=unscored)
    assert [(job.arm, job.status) for job in jobs[:2]] == [
        ("gain_rl, group_size=2", "failed"),
        ("baseline-gain_rl", "running"),
    ]
    assert len(jobs) == 1 + 12


@pytest.mark.usefixtures("quick_figures")
def test_a_page_of_blocks_has_tables_and_figures_per_value(factorial):
    cli([str(factorial), "--within", "algorithm.group_size", "--margin", "0.02"])
    report = factorial / "report"
    names = {path.stem for path in (report / "tables").glob("*.csv")}
    for size in SIZES:
        assert {f"{name}_group_size_{size}" for name in ("arms", "differences_final_score", "diagnostics")} <= names
        assert (report / "figures" / f"differences_group_size_{size}.svg").exists()
    text = (report / "report.md").read_text()
    assert "**Final score with group_size=16, difference to vanilla_grpo**" in text
    assert "corrected by Holm for 3 comparisons" in text


@pytest.fixture
def ablations(tmp_path):
    """As `-m experiment=ablation_full,ablation_intra,ablation_uniform seed=...` leaves them."""
    for name, gain in (("ablation_full", 0.3), ("ablation_intra", 0.2), ("ablation_uniform", 0.3)):
        for seed in range(8):
            folder = write_run(tmp_path, "any", seed, gain=gain, experiment=name)
            path = folder / "config.yaml"
            config = yaml.safe_load(path.read_text())
            config["run"]["overrides"] = [f"experiment={name}", f"seed={seed}"]
            path.write_text(yaml.safe_dump(config))
    return tmp_path


def test_experiments_compare_as_arms(ablations):
    (sweep,) = sweeps_of(ablations, arms="experiment", reference="ablation_full")
    assert sweep.labels == ["ablation_full", "ablation_uniform", "ablation_intra"]
    rows = {row.label: row for row in compare(sweep, axes_of(sweep)) if row.primary}
    assert {label: row.runs[0] for label, row in rows.items()} == {"ablation_uniform": 8, "ablation_intra": 8}
    assert rows["ablation_intra"].conclusion == "worse"


def test_what_should_have_been_typed_is_printed(ablations, capsys, monkeypatch):
    monkeypatch.setattr("gainrl.report.cli.write_report", lambda *_, **__: "page")
    cli([str(ablations)])
    assert "add --arms experiment" in capsys.readouterr().err
    cli([str(ablations), "--arms", "experiment"])
    assert "Nobody named the reference arm: ablation_full was taken" in capsys.readouterr().err
    cli([str(ablations), "--arms", "experiment", "--reference", "ablation_full"])
    assert capsys.readouterr().err.startswith("24 runs of 3 arms")


@pytest.mark.usefixtures("quick_figures")
def test_several_tasks_have_tables_of_their_own_and_can_be_read_one_by_one(tmp_path):
    for task in ("gsm8k", "math"):
        for arm in ("vanilla_grpo", "gain_rl"):
            for seed in range(3):
                write_run(tmp_path, arm, seed, experiment=task)
    (one,) = sweeps_of(tmp_path, task="math")
    assert [len(one.chosen("gain_rl", task)) for task in one.tasks] == [3]
    cli([str(tmp_path)])
    tables = tmp_path / "report" / "tables"
    with open(tables / "differences_by_task.csv", newline="") as file:
        assert [(row["task"], row["arm"], row["runs"]) for row in csv.DictReader(file)] == [
            ("gsm8k", "gain_rl", "3"),
            ("math", "gain_rl", "3"),
        ]
    assert (tables / "budget_to_target_in_gsm8k.csv").exists()
