import math
import re

import numpy as np
import pytest

from gainrl.report.comparisons import pairs_runs, unscored
from gainrl.report.conclusions import compare, sentence
from gainrl.report.series import level_shares, running_mean, score_curves
from gainrl.report.summaries import area, axes_of, budgets_to_targets, summarise, target_scores
from tests.report.synthetic import write_run

HOW = ("paired", "unpaired")


def write_arms(tmp_path, gains, seeds=8, **options):
    for arm, gain in gains.items():
        for seed in range(seeds):
            write_run(tmp_path, arm, seed, gain=gain, **options)


def test_the_reference_comes_first_and_the_rest_by_final_score(tmp_path, sweep_of):
    write_arms(tmp_path, {"vanilla_grpo": 0.2, "a": 0.1, "b": 0.4}, seeds=3)
    assert sweep_of().labels == ["vanilla_grpo", "b", "a"]


def test_the_final_score_is_the_mean_of_the_last_evaluations(tmp_path, sweep_of):
    write_run(tmp_path, "vanilla_grpo", 0, steps=80, every=5)
    sweep = sweep_of(last=3)
    run = sweep.all_runs()[0]
    scores = run.evaluations("step", "eval/accuracy")[1]
    assert sweep.final_score(run) == pytest.approx(scores[-3:].mean())


def test_few_evaluations_leave_the_start_out_of_the_final_score(tmp_path, sweep_of):
    write_run(tmp_path, "vanilla_grpo", 0, steps=40, every=10)  # four after the first: one quarter is one
    sweep = sweep_of(last=3)
    run = sweep.all_runs()[0]
    assert sweep.final_score(run) == run.evaluations("step", "eval/accuracy")[1][-1]


def test_a_better_and_a_worse_arm_are_distinguished(tmp_path, sweep_of):
    write_arms(tmp_path, {"vanilla_grpo": 0.3, "oracle": 0.4, "hard_to_easy": 0.2})
    sweep = sweep_of()
    rows = {row.label: row for row in compare(sweep, axes_of(sweep)) if row.score == "final score"}
    assert rows["oracle"].conclusion == "better"
    assert rows["oracle"].interval.low > 0.05
    assert rows["hard_to_easy"].conclusion == "worse"
    assert "better than vanilla_grpo" in sentence(rows["oracle"], sweep)
    assert "worse than vanilla_grpo" in sentence(rows["hard_to_easy"], sweep)


def test_equal_arms_are_ruled_out_when_seeds_are_many_and_noise_is_small(tmp_path, sweep_of):
    write_arms(tmp_path, {"vanilla_grpo": 0.3, "same": 0.3}, noise=0.002)
    sweep = sweep_of(margin=0.02, pairing="paired")
    assert compare(sweep, axes_of(sweep))[0].conclusion == "not better"


def test_paired_runs_are_those_of_the_seeds_that_both_have(tmp_path, sweep_of):
    write_arms(tmp_path, {"vanilla_grpo": 0.3}, seeds=4)
    for seed in (2, 3, 4, 5):
        write_run(tmp_path, "gain_rl", seed)
    runs = {how: (sweep := sweep_of(pairing=how)) and compare(sweep, axes_of(sweep))[0].runs for how in HOW}
    assert runs == {"paired": (2, 2), "unpaired": (4, 4)}


def test_runs_are_paired_only_where_arms_correlate_over_seeds(tmp_path, sweep_of):
    write_arms(tmp_path / "together", {"vanilla_grpo": 0.3, "gain_rl": 0.3}, noise=0.002, seeds=10)
    sweep = sweep_of()
    assert pairs_runs(sweep, sweep.final_score)
    write_arms(tmp_path / "apart", {"random_order": 0.3, "sec": 0.3, "prepo": 0.3}, noise=0.3, seeds=10)
    sweep = sweep_of()
    assert not pairs_runs(sweep, sweep.final_score)


def test_pairing_removes_what_a_seed_adds_to_both_arms(tmp_path, sweep_of):
    write_arms(tmp_path, {"vanilla_grpo": 0.3, "gain_rl": 0.32}, noise=0.0)
    sweep = sweep_of(pairing="paired")
    row = compare(sweep, axes_of(sweep))[0]
    final = next(summary for summary in summarise(sweep) if summary.label == "gain_rl").final
    assert row.interval.high - row.interval.low < 0.1 * (final.high - final.low)


def test_areas_are_taken_up_to_what_the_reference_spends(tmp_path, sweep_of):
    write_run(tmp_path, "vanilla_grpo", 0, tokens_per_step=100, noise=0)
    write_run(tmp_path, "wordy", 0, tokens_per_step=200, noise=0)
    sweep = sweep_of()
    assert sweep.budget("generated_tokens", "") == 4000
    assert sweep_of(budget=1000.0).budget("generated_tokens", "") == 1000
    plain, wordy = (sweep.chosen(label)[0] for label in ("vanilla_grpo", "wordy"))
    assert area(sweep, plain, "updates") == pytest.approx(area(sweep, wordy, "updates"))
    assert area(sweep, wordy, "generated_tokens") < area(sweep, plain, "generated_tokens")


def test_an_arm_twice_as_fast_needs_half_the_budget(tmp_path, sweep_of):
    for seed in range(4):
        write_run(tmp_path, "vanilla_grpo", seed, noise=0, speed=3, every=1, steps=120)
        write_run(tmp_path, "fast", seed, noise=0, speed=6, every=1, steps=120)
    sweep = sweep_of(target_of="gain", targets=(0.6,))
    rows = {(row.label, row.axis): row for row in budgets_to_targets(sweep, ("updates", "generated_tokens"))}
    # A seed whose level lies higher reaches a target that is the mean over seeds earlier, with either arm.
    assert rows["fast", "updates"].ratio.estimate == pytest.approx(0.5, abs=0.03)
    assert rows["vanilla_grpo", "updates"].ratio.estimate == pytest.approx(1.0)


def test_runs_that_never_arrive_stay_in_the_count(tmp_path, sweep_of):
    write_arms(tmp_path, {"vanilla_grpo": 0.5, "stuck": 0.0}, seeds=4)
    sweep = sweep_of(targets=(0.95,))
    row = next(row for row in budgets_to_targets(sweep, ("updates",)) if row.label == "stuck")
    assert (row.reached, row.runs) == (0, 4)
    assert row.ratio.estimate == math.inf
    assert 1 < row.longest < math.inf


def test_a_target_below_the_start_is_marked(tmp_path, sweep_of):
    write_arms(tmp_path, {"vanilla_grpo": 0.05, "gain_rl": 0.05}, seeds=3)
    rows = budgets_to_targets(sweep_of(targets=(0.6,)), ("updates",))
    assert all(row.at_start and math.isnan(row.ratio.estimate) for row in rows)


def test_targets_can_be_shares_of_the_gain(tmp_path, sweep_of):
    write_run(tmp_path, "vanilla_grpo", 0, noise=0, steps=40, every=10)
    sweep = sweep_of(target_of="gain", targets=(0.5,))
    run = sweep.chosen("vanilla_grpo")[0]
    middle = (sweep.first_score(run) + sweep.final_score(run)) / 2
    assert target_scores(sweep, "")[0.5] == pytest.approx(middle)


def test_unfinished_runs_are_left_out_unless_nothing_is_finished(tmp_path, sweep_of):
    write_run(tmp_path, "vanilla_grpo", 0, status="running", until=20)
    write_run(tmp_path, "gain_rl", 0, status="running", until=30)
    sweep = sweep_of()
    assert sweep.partial
    assert sweep.common_step("") == 20
    write_run(tmp_path, "vanilla_grpo", 1)
    assert [run.seed for run in sweep_of().chosen("vanilla_grpo")] == [1]


def test_partial_scores_end_at_the_common_step(tmp_path, sweep_of):
    write_run(tmp_path, "vanilla_grpo", 0, status="running", until=20, noise=0)
    write_run(tmp_path, "gain_rl", 0, status="running", until=40, noise=0)
    sweep = sweep_of()
    one, other = sweep.chosen("vanilla_grpo")[0], sweep.chosen("gain_rl")[0]
    assert sweep.final_score(one) == pytest.approx(sweep.final_score(other))


def test_of_two_runs_of_one_seed_the_finished_one_counts(tmp_path, sweep_of):
    write_run(tmp_path / "first", "vanilla_grpo", 0)
    write_run(tmp_path / "again", "vanilla_grpo", 0, status="failed", until=10)
    sweep = sweep_of()
    assert [run.status for run in sweep.all_runs()] == ["finished"]
    assert [run.status for run in sweep.repeated] == ["failed"]


def test_tasks_are_compared_within_themselves(tmp_path, sweep_of):
    for task, start in (("gsm8k", 0.2), ("math", 0.5)):
        for arm, gain in (("vanilla_grpo", 0.2), ("gain_rl", 0.3)):
            for seed in range(4):
                write_run(tmp_path, arm, seed, gain=gain, start=start, experiment=task)
    sweep = sweep_of()
    assert sweep.labels == ["vanilla_grpo", "gain_rl"]
    assert sweep.tasks == ["gsm8k", "math"]
    row = compare(sweep, axes_of(sweep))[0]
    assert row.runs == (8, 8)
    assert row.interval.estimate == pytest.approx(0.1 * (1 - math.exp(-3)), abs=0.02)


def test_a_score_that_nobody_has_is_answered_with_those_there_are(tmp_path, sweep_of):
    write_run(tmp_path, "vanilla_grpo", 0)
    with pytest.raises(ValueError, match="--metric can be eval/accuracy"):
        sweep_of(metric="eval/acuracy")


def test_curves_pass_through_the_mean_of_the_runs(tmp_path, sweep_of):
    write_arms(tmp_path, {"vanilla_grpo": 0.3}, seeds=4)
    curve = score_curves(sweep_of(), "updates", "")[0]
    assert curve.middle[-1] == pytest.approx(curve.runs[:, -1].mean())
    assert (curve.low <= curve.middle + 1e-12).all()
    assert (curve.middle <= curve.high + 1e-12).all()


def test_a_running_mean_keeps_a_constant_and_the_length():
    np.testing.assert_allclose(running_mean(np.full(7, 0.4), 5), np.full(7, 0.4))


def test_level_shares_sum_to_one(tmp_path, sweep_of):
    write_run(tmp_path, "vanilla_grpo", 0, center=True)
    middles, shares = level_shares(sweep_of(), "vanilla_grpo", "")
    np.testing.assert_allclose(sum(shares.values()), np.ones(len(middles)))
    assert shares["1"][0] > shares["1"][-1]


def conclusion(rows, sweep):
    return sentence(rows["final score"], sweep, list(rows.values()))


def test_an_arm_that_screens_is_judged_over_steps_and_over_rollouts(tmp_path, sweep_of):
    write_arms(tmp_path, {"vanilla_grpo": 0.3})
    write_arms(tmp_path, {"oracle": 0.36}, screening=128)
    sweep = sweep_of()
    rows = {row.score: row for row in compare(sweep, axes_of(sweep))}
    assert rows["area over optimizer steps"].interval.low > 0
    # The same curve takes three times the rollouts.
    assert rows["area over rollouts"].interval.high < 0
    assert re.search(r"better than vanilla_grpo.*; but below zero in area over rollouts, ", conclusion(rows, sweep))
    ratios = {
        row.axis: row.ratio.estimate for row in budgets_to_targets(sweep, axes_of(sweep)) if row.label == "oracle"
    }
    assert ratios["rollouts"] == pytest.approx(3 * ratios["updates"])


def test_rollouts_are_no_axis_of_their_own_where_every_prompt_takes_as_many(tmp_path, sweep_of):
    write_arms(tmp_path, {"vanilla_grpo": 0.3, "gain_rl": 0.3}, seeds=2)
    sweep = sweep_of()
    assert not sweep.pays_extra_rollouts()
    assert "area over rollouts" not in {row.score for row in compare(sweep, axes_of(sweep))}


def test_only_the_primary_score_is_judged(tmp_path, sweep_of):
    write_arms(tmp_path, {"vanilla_grpo": 0.3, "oracle": 0.4})
    for primary, name in (("final", "final score"), ("area", "area over generated tokens")):
        sweep = sweep_of(primary=primary)
        rows = compare(sweep, axes_of(sweep))
        assert {row.score for row in rows if row.primary} == {name}
        assert all((row.conclusion is not None) == (row.p_holm is not None) == row.primary for row in rows)
        assert all(0 < row.p < 1 for row in rows)


def test_a_run_without_a_score_is_left_out_and_named(tmp_path, sweep_of):
    write_arms(tmp_path, {"vanilla_grpo": 0.3, "gain_rl": 0.4}, seeds=6)
    path = tmp_path / "baseline-gain_rl" / "s2" / "metrics.csv"
    text = path.read_text()
    path.write_text(text.replace("generated_tokens", "tokens_of_another_name", 1))
    sweep = sweep_of(pairing="unpaired")
    axes = axes_of(sweep)
    rows = {row.score: row for row in compare(sweep, axes)}
    assert rows["final score"].runs == (6, 6)
    assert rows["area over generated tokens"].runs == (5, 6)
    assert unscored(sweep, axes) == ["gain_rl has no area over generated tokens for seed 2: those runs are left out."]


def test_each_task_can_be_looked_at_by_itself(tmp_path, sweep_of):
    for task, gain in (("gsm8k", 0.3), ("math", 0.1)):
        for seed in range(6):
            write_run(tmp_path, "vanilla_grpo", seed, gain=0.2, experiment=task)
            write_run(tmp_path, "gain_rl", seed, gain=gain, experiment=task)
    sweep = sweep_of()
    pooled = compare(sweep, axes_of(sweep))[0]
    single = {task: compare(sweep.of_task(task), axes_of(sweep))[0] for task in sweep.tasks}
    assert [row.runs[0] for row in (pooled, *single.values())] == [12, 6, 6]
    assert single["gsm8k"].interval.low > 0 > single["math"].interval.high
    assert pooled.interval.estimate == pytest.approx(np.mean([row.interval.estimate for row in single.values()]))
    targets = budgets_to_targets(sweep.of_task("math"), ("updates",))
    assert {row.runs for row in targets} == {6}
