import pytest
import yaml

from gainrl.report import caveats
from gainrl.report.caveats import NO_CONTROL
from gainrl.report.jobs import open_jobs
from gainrl.report.summaries import axes_of
from tests.report.synthetic import write_plan, write_run


def warnings(sweep):
    """All but those of one base and of too few runs, which these small sweeps call for."""
    return [text for text in every_warning(sweep) if "one base:" not in text and "likely to be missed" not in text]


def every_warning(sweep):
    return caveats.warnings([sweep], [axes_of(sweep)])


def complete(tmp_path, arms=("vanilla_grpo", "gain_rl"), seeds=8, **options):
    for arm in arms:
        for seed in range(seeds):
            write_run(tmp_path, arm, seed, **options)


def test_a_complete_sweep_warns_of_nothing(tmp_path, sweep_of):
    complete(tmp_path, arms=("vanilla_grpo", "gain_rl", "oracle"))
    assert warnings(sweep_of()) == []
    assert warnings(sweep_of(gate="gain_rl")) == []
    assert open_jobs([sweep_of()], [tmp_path]) == []


def test_different_evaluation_sets_are_named(tmp_path, sweep_of):
    complete(tmp_path, arms=["vanilla_grpo"])
    complete(tmp_path, arms=["gain_rl"], held_out=20)
    assert any("evaluation sets differ" in text and "set 2: gain_rl" in text for text in warnings(sweep_of()))


def test_different_budgets_are_named_with_their_arms(tmp_path, sweep_of):
    complete(tmp_path, arms=["vanilla_grpo"])
    complete(tmp_path, arms=["gain_rl"], steps=80)
    text = next(text for text in warnings(sweep_of()) if "planned budgets differ" in text)
    assert "40 steps of 32 prompts with 8 completions: vanilla_grpo" in text
    assert "80 steps" in text


def test_more_generated_tokens_are_named(tmp_path, sweep_of):
    complete(tmp_path, arms=["vanilla_grpo"], tokens_per_step=1000)
    complete(tmp_path, arms=["dapo"], tokens_per_step=2000)
    assert any("from 40,000 (vanilla_grpo) to 80,000 (dapo)" in text for text in warnings(sweep_of()))


def test_rollouts_that_only_screened_are_named(tmp_path, sweep_of):
    complete(tmp_path, arms=["vanilla_grpo"])
    complete(tmp_path, arms=["oracle"], screening=128)
    assert any(text.startswith("67% of the rollouts of oracle only screened") for text in warnings(sweep_of()))


def test_lacking_seeds_are_named_in_warnings_and_jobs(tmp_path, sweep_of):
    complete(tmp_path)
    write_run(tmp_path, "gain_rl", 8)
    sweep = sweep_of()
    assert any("vanilla_grpo lacks 8" in text for text in warnings(sweep))
    assert [(job.arm, job.seed, job.status) for job in open_jobs([sweep], [tmp_path])] == [
        ("vanilla_grpo", "8", "missing")
    ]


def test_runs_of_one_base_that_start_apart_are_named(tmp_path, sweep_of):
    complete(tmp_path, arms=["vanilla_grpo"])
    complete(tmp_path, arms=["gain_rl"], start=0.4)
    assert any("do not start from the same score (gain_rl)" in text for text in warnings(sweep_of()))


def test_runs_of_one_arm_with_other_settings_are_named(tmp_path, sweep_of):
    complete(tmp_path)
    path = tmp_path / "baseline-gain_rl" / "s2" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["curriculum"]["width"] = 0.5
    path.write_text(yaml.safe_dump(config))
    assert "The runs of gain_rl differ in more than the seed: curriculum.width." in warnings(sweep_of())


def test_a_seed_that_follows_the_seed_of_the_run_is_no_other_setting(tmp_path, sweep_of):
    complete(tmp_path)
    for path in tmp_path.glob("baseline-gain_rl/s*/config.yaml"):
        config = yaml.safe_load(path.read_text())
        config["signal"] = {"seed": config["seed"]}
        path.write_text(yaml.safe_dump(config))
    assert not any("more than the seed" in text for text in warnings(sweep_of()))


def test_too_few_runs_for_the_margin_are_named_with_how_many_it_takes(tmp_path, sweep_of):
    complete(tmp_path, seeds=8)
    text = next(text for text in every_warning(sweep_of(margin=0.002)) if "likely to be missed" in text)
    assert text.startswith("With 8 runs an arm an effect of the margin (0.002)")


def test_one_base_is_named(tmp_path, sweep_of):
    complete(tmp_path)
    assert any(text.startswith("All runs start from one base:") for text in every_warning(sweep_of()))
    for base in (1, 2):
        complete(tmp_path, base=base)
    assert not any("one base:" in text for text in every_warning(sweep_of()))


def test_repeated_runs_are_named(tmp_path, sweep_of):
    complete(tmp_path / "a")
    write_run(tmp_path / "b", "gain_rl", 0)
    assert any(text.startswith("1 runs repeat") for text in warnings(sweep_of()))


def test_failed_and_running_jobs_say_how_far_they_came(tmp_path, sweep_of):
    complete(tmp_path)
    write_run(tmp_path, "sec", 0, status="failed", fault="the loss is NaN", until=12)
    write_run(tmp_path, "sec", 1, status="running", until=30)
    jobs = {
        job.seed: job for job in open_jobs([sweep_of()], [tmp_path]) if job.arm == "sec" and job.status != "missing"
    }
    assert jobs["0"].detail == "step 12 of 40; the loss is NaN"
    assert jobs["1"].detail.startswith("step 30 of 40; last row 0 min ago")


def test_jobs_that_a_sweep_planned_but_never_began_are_named(tmp_path, sweep_of):
    complete(tmp_path, seeds=2)
    write_plan(tmp_path, {"baseline": "vanilla_grpo,gain_rl,sec"}, ["seed=0,1"])
    jobs = open_jobs([sweep_of()], [tmp_path])
    assert [(job.arm, job.seed) for job in jobs] == [("baseline=sec", "0"), ("baseline=sec", "1")]


@pytest.mark.parametrize(
    ("group", "key", "value"),
    [
        ("evaluation", "samples", 1),
        ("rollout", "max_new_tokens", 2048),
        ("reward", "_target_", "gainrl.rewards.math.MathReward"),
        ("eval", "sets", {"math500": {}}),
    ],
)
def test_whatever_else_decides_the_evaluation_is_compared(tmp_path, sweep_of, group, key, value):
    complete(tmp_path)
    change(tmp_path, "baseline-gain_rl/s*", group, key, value)
    assert any("evaluation sets differ" in text for text in warnings(sweep_of()))


def change(root, runs, group, key, value):
    for path in root.glob(f"{runs}/config.yaml"):
        config = yaml.safe_load(path.read_text())
        config.setdefault(group, {})[key] = value
        path.write_text(yaml.safe_dump(config))


def test_how_often_is_evaluated_and_by_how_many_workers_makes_no_other_evaluation_set(tmp_path, sweep_of):
    complete(tmp_path)
    change(tmp_path, "baseline-gain_rl/s*", "reward", "workers", 8)
    assert warnings(sweep_of()) == [NO_CONTROL]


def test_other_settings_are_found_in_every_task(tmp_path, sweep_of):
    for task in ("gsm8k", "math"):
        complete(tmp_path, experiment=task)
    change(tmp_path, "math/gain_rl/s3", "curriculum", "width", 0.5)
    assert "The runs of gain_rl differ in more than the seed: curriculum.width." in warnings(sweep_of())


def test_a_reference_that_nobody_named_is_named_with_how_to_choose_another(tmp_path, sweep_of):
    complete(tmp_path, arms=("b", "a"))
    for path in tmp_path.glob("*/s*/config.yaml"):
        path.write_text(path.read_text().replace("UniformCurriculum", "GainCurriculum"))
    text, *others = warnings(sweep_of())
    assert others == [NO_CONTROL]
    assert text.startswith("Nobody named the reference arm: a was taken (no arm is vanilla GRPO or uniform draws")
    assert "--reference ARM, one of a, b" in text
    assert warnings(sweep_of(reference="b")) == [NO_CONTROL]


def test_experiments_that_may_be_arms_are_pointed_out(tmp_path, sweep_of):
    for name in ("ablation_full", "ablation_intra"):
        complete(tmp_path, arms=["x"], experiment=name)
    assert any("add --arms experiment" in text for text in warnings(sweep_of()))
    assert not any("--arms" in text for text in warnings(sweep_of(arms="experiment", reference="ablation_full")))


def test_an_arm_that_never_had_a_gradient_is_named_in_words(tmp_path, sweep_of):
    complete(tmp_path, arms=["vanilla_grpo"], informative=0.0)  # partial credit alone teaches too
    complete(tmp_path, arms=["gain_rl"], gain=0.0, noise=0.0, informative=0.0, gradient=0.0)
    assert [text for text in warnings(sweep_of()) if "learned nothing" in text] == [
        "gain_rl learned nothing: in every step of its 8 runs all completions of a prompt had the same reward, so "
        "no update had a gradient. Its curves show the model that it began with."
    ]


def test_an_arm_whose_score_never_moved_is_named_in_words(tmp_path, sweep_of):
    complete(tmp_path, arms=["vanilla_grpo"], gain=0.0, noise=0.0)
    complete(tmp_path, arms=["gain_rl"])
    assert [text for text in warnings(sweep_of()) if "never moved" in text] == [
        "vanilla_grpo never moved: in all its 8 runs eval/accuracy stayed what it was before training. Where it is "
        "the reference, every arm reaches its targets “at start”, which says nothing about speed."
    ]
