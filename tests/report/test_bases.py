"""Bases and seeds are two levels: what is pooled, what is the unit, and what is one run under two names."""

import json

import numpy as np
import pytest

from gainrl.report.blocked import make_sweeps
from gainrl.report.caveats import warnings
from gainrl.report.conclusions import compare
from gainrl.report.power import power_lines, spread_of
from gainrl.report.reader import base_of, read_runs
from gainrl.report.summaries import axes_of
from gainrl.report.sweep import Settings
from tests.report.synthetic import write_run


def write(root, gains, bases=4, seeds=4, **options):
    for arm, gain in gains.items():
        for base in range(bases):
            for seed in range(seeds):
                write_run(root, arm, seed, base=base, gain=gain, **options)


def test_the_seed_of_the_model_is_a_base_and_makes_no_arm(tmp_path, sweep_of):
    write(tmp_path, {"vanilla_grpo": 0.3, "gain_rl": 0.3}, bases=3, seeds=2)
    sweep = sweep_of()
    assert sweep.labels == ["vanilla_grpo", "gain_rl"]
    assert sweep.bases() == ["0", "1", "2"]
    assert [len(runs) for runs in sweep.strata("gain_rl").values()] == [2, 2, 2]


def test_a_warm_start_of_its_own_is_another_base():
    assert base_of({"model": {"seed": 2, "warm_start": {"seed": 0}}}) == "2"
    assert base_of({"model": {"seed": 2, "warm_start": {"seed": 2}}}) == "2"
    assert base_of({"model": {"seed": 0, "warm_start": {"seed": 5}}}) == "0-5"
    assert base_of({}) == "0"


def test_the_interval_is_over_bases_unless_these_bases_are_meant(tmp_path, sweep_of):
    write(tmp_path, {"vanilla_grpo": 0.3})
    for base, gain in enumerate((0.2, 0.3, 0.4, 0.5)):  # what the arm gains depends on the base
        for seed in range(4):
            write_run(tmp_path, "gain_rl", seed, base=base, gain=gain, noise=0.002)
    over = {unit: compare(sweep := sweep_of(over=unit), axes_of(sweep))[0] for unit in ("bases", "seeds")}
    assert over["bases"].estimate.freedom == 3
    assert over["bases"].bases == 4
    assert over["bases"].estimate.value == pytest.approx(over["seeds"].estimate.value)
    assert over["bases"].conclusion == "inconclusive"
    assert over["seeds"].conclusion == "better"


def test_bases_that_agree_show_a_small_effect(tmp_path, sweep_of):
    write(tmp_path, {"vanilla_grpo": 0.3, "gain_rl": 0.34}, noise=0.005)
    sweep = sweep_of()
    assert compare(sweep, axes_of(sweep))[0].conclusion == "better"


def test_nothing_is_concluded_where_the_positive_control_fails(tmp_path, sweep_of):
    write(tmp_path, {"vanilla_grpo": 0.3, "gain_rl": 0.2, "oracle": 0.3}, bases=1, seeds=8)
    sweep = sweep_of()
    rows = {row.label: row for row in compare(sweep, axes_of(sweep)) if row.primary}
    assert sweep.gate == "oracle"
    assert rows["oracle"].conclusion != "better"
    assert rows["gain_rl"].conclusion is None
    assert rows["gain_rl"].interval.high < 0


def test_the_gate_is_no_comparison_of_the_family(tmp_path, sweep_of):
    write(tmp_path, {"vanilla_grpo": 0.3, "gain_rl": 0.2, "oracle": 0.4}, bases=1, seeds=8)
    sweep = sweep_of()
    rows = {row.label: row for row in compare(sweep, axes_of(sweep)) if row.primary}
    assert rows["gain_rl"].conclusion == "worse"
    assert rows["gain_rl"].p_holm == pytest.approx(rows["gain_rl"].p)  # a family of one


def test_a_margin_can_be_a_share_of_the_gates_gain(tmp_path, sweep_of):
    write(tmp_path, {"vanilla_grpo": 0.3, "gain_rl": 0.3, "oracle": 0.4}, bases=1, seeds=8, noise=0.002)
    sweep = sweep_of(margin_share=0.5, pairing="paired")
    row = next(row for row in compare(sweep, axes_of(sweep)) if row.label == "gain_rl")
    # Half of what the oracle gains at the end, 0.1 (1 - exp(-3)).
    assert row.margin == pytest.approx(0.05 * (1 - np.exp(-3)), abs=0.004)
    assert row.against_margin.value == pytest.approx(row.estimate.value - row.margin, abs=1e-9)
    assert row.conclusion == "not better"


def test_an_unknown_gate_is_refused(tmp_path, sweep_of):
    write(tmp_path, {"vanilla_grpo": 0.3, "gain_rl": 0.3}, bases=1, seeds=2)
    with pytest.raises(ValueError, match="not among the compared arms"):
        sweep_of(gate="orakle")


def test_an_arm_whose_runs_are_anothers_is_counted_once(tmp_path, sweep_of):
    write(tmp_path, {"vanilla_grpo": 0.3, "a": 0.2, "b": 0.2}, bases=1, seeds=8)
    for path in tmp_path.glob("baseline-a/s*/metrics.csv"):
        (tmp_path / "baseline-b" / path.parent.name / path.name).write_text(path.read_text())
    sweep = sweep_of()
    assert sweep.same == {"b": "a"}
    rows = {row.label: row for row in compare(sweep, axes_of(sweep)) if row.primary}
    assert rows["b"].conclusion is None
    assert rows["a"].p_holm == pytest.approx(rows["a"].p)
    assert any(text.startswith("b is a under another name") for text in warnings([sweep], [axes_of(sweep)]))


def test_a_trajectory_that_stands_twice_in_an_arm_is_counted_once(tmp_path, sweep_of):
    write(tmp_path, {"vanilla_grpo": 0.3, "gain_rl": 0.3}, bases=1, seeds=4)
    first = tmp_path / "baseline-gain_rl"
    (first / "s1" / "metrics.csv").write_text((first / "s0" / "metrics.csv").read_text())
    sweep = sweep_of()
    assert [run.seed for run in sweep.chosen("gain_rl")] == [0, 2, 3]
    assert [run.seed for run in sweep.repeated] == [1]


def test_runs_that_two_arms_share_are_named(tmp_path, sweep_of):
    write(tmp_path, {"vanilla_grpo": 0.3, "gain_rl": 0.3}, bases=1, seeds=4)
    for seed in (0, 1):
        source = tmp_path / "baseline-vanilla_grpo" / f"s{seed}" / "metrics.csv"
        (tmp_path / "baseline-gain_rl" / f"s{seed}" / "metrics.csv").write_text(source.read_text())
    sweep = sweep_of()
    found = warnings([sweep], [axes_of(sweep)])
    assert any(text.startswith("2 of the 4 runs of") and "same trajectory" in text for text in found)


def test_an_area_does_not_depend_on_the_company_of_arms(tmp_path, sweep_of):
    write(tmp_path, {"vanilla_grpo": 0.3, "gain_rl": 0.4}, bases=1, seeds=3)
    name = "area over generated tokens"

    def areas():
        sweep = sweep_of(reference="vanilla_grpo", pairing="unpaired")
        return {row.label: row.estimate.value for row in compare(sweep, axes_of(sweep)) if row.score == name}

    alone = areas()["gain_rl"]
    write(tmp_path, {"short": 0.3}, bases=1, seeds=3, tokens_per_step=50.0)
    assert areas()["gain_rl"] == alone


def solve_other_problems(root):
    """Runs keep their accuracies, but gain_rl solves the first problems and the reference the last."""
    for path in root.glob("*/s*/evaluations.jsonl"):
        marks = [json.loads(line) for line in path.read_text().splitlines()]
        for mark in marks:
            mark["verdicts"] = "".join(sorted(mark["verdicts"], reverse="gain_rl" in str(path)))
        path.write_text("".join(f"{json.dumps(mark)}\n" for mark in marks))


def test_verdicts_per_problem_widen_the_interval_by_what_problems_differ_by(tmp_path, sweep_of):
    # Two arms that solve other halves of the problems with certainty: seeds hardly vary, problems do.
    write(tmp_path, {"vanilla_grpo": 0.3, "gain_rl": 0.3}, bases=1, seeds=4, problems=40)
    solve_other_problems(tmp_path)
    sweep = sweep_of(pairing="unpaired")
    with_problems = compare(sweep, axes_of(sweep))[0]
    for path in tmp_path.glob("*/s*/evaluations.jsonl"):
        path.unlink()
    sweep = sweep_of(pairing="unpaired")
    without = compare(sweep, axes_of(sweep))[0]
    assert with_problems.estimate.value == pytest.approx(without.estimate.value)
    assert with_problems.estimate.error > without.estimate.error


def test_verdicts_per_problem_widen_the_test_against_a_share_of_the_gates_gain(tmp_path, sweep_of):
    gains = {"vanilla_grpo": 0.3, "gain_rl": 0.3, "oracle": 0.5}
    write(tmp_path, gains, bases=1, seeds=4, problems=40)
    solve_other_problems(tmp_path)

    def error():
        sweep = sweep_of(pairing="unpaired", margin_share=0.5)
        rows = {row.label: row for row in compare(sweep, axes_of(sweep)) if row.primary}
        return rows["gain_rl"].against_margin.error

    with_problems = error()
    for path in tmp_path.glob("*/s*/evaluations.jsonl"):
        path.unlink()
    assert with_problems > error()


def test_a_pilot_gives_the_runs_that_an_effect_takes(tmp_path, sweep_of):
    write(tmp_path, {"vanilla_grpo": 0.3, "gain_rl": 0.3}, bases=1, seeds=10, noise=0.05)
    sweep = sweep_of(pairing="unpaired")
    name, spread = spread_of(sweep)
    assert name == "final score"
    assert (spread.freedom, spread.bases) == (18, 1)
    text = "\n".join(power_lines(sweep, [spread.deviation]))
    assert "one base: what other bases would add is not known" in text
    assert "1.00          17" in text  # two arms of 17 show one deviation


def test_a_pilot_of_single_runs_tells_no_spread(tmp_path, sweep_of):
    write(tmp_path, {"vanilla_grpo": 0.3, "gain_rl": 0.3}, bases=1, seeds=1)
    with pytest.raises(ValueError, match="run a second seed"):
        power_lines(sweep_of())


def test_blocks_keep_bases_apart_from_arms(tmp_path):
    write(tmp_path, {"vanilla_grpo": 0.3, "gain_rl": 0.3}, bases=2, seeds=2)
    sweeps, _ = make_sweeps(read_runs([tmp_path]), Settings())
    assert [arm.label for arm in sweeps[0].arms if len(arm.runs) == 4] == sweeps[0].labels
