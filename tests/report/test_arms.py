import pytest

from gainrl.report.arms import Reference, choose_reference, group_arms
from gainrl.report.reader import Run


def run(*overrides: str, seed: int = 0, config: dict | None = None) -> Run:
    return Run(
        f"{overrides}{seed}", "arm", seed, "finished", overrides=(*overrides, f"seed={seed}"), config=config or {}
    )


def labels(*runs: Run) -> list[str]:
    return [arm.label for arm in group_arms(runs)]


def test_arms_are_called_by_what_differs():
    assert labels(
        run("baseline=gain_rl", "schedule.steps=100"), run("baseline=vanilla_grpo", "schedule.steps=100")
    ) == ["gain_rl", "vanilla_grpo"]


def test_seeds_and_machine_settings_make_no_arms():
    runs = [run("baseline=gain_rl", "trainer.devices=2", "sweep=x"), run("baseline=gain_rl", seed=1)]
    assert labels(*runs) == ["gain_rl"]


def test_what_a_run_says_does_not_decide_its_numbers_makes_no_arm():
    message = {"identity_excludes": ["retry_failed", "checkpoint", "mine.own"]}
    repeated = run("baseline=gain_rl", "retry_failed=true", "checkpoint.keep=3", "mine.own=1", config=message)
    arms = group_arms([run("baseline=gain_rl", config=message), repeated, run("baseline=sec", config=message)])
    assert [(arm.label, len(arm.runs)) for arm in arms] == [("gain_rl", 2), ("sec", 1)]


def test_several_settings_are_named_where_they_differ():
    assert labels(
        run("baseline=gain_rl", "curriculum.width=0.1"),
        run("baseline=gain_rl", "curriculum.width=0.2"),
        run("baseline=vanilla_grpo"),
    ) == ["gain_rl, width=0.1", "gain_rl, width=0.2", "vanilla_grpo"]


def test_settings_with_the_same_last_name_keep_their_paths():
    assert labels(run("curriculum.width=1", "model.width=3"), run("curriculum.width=2", "model.width=4")) == [
        "curriculum.width=1, model.width=3",
        "curriculum.width=2, model.width=4",
    ]


def test_an_arm_without_any_of_the_settings_is_the_default():
    assert labels(run(), run("signal=length")) == ["default", "length"]


def test_without_known_overrides_the_name_of_the_arm_tells_them():
    runs = [Run("a", "baseline-x,seed-1", 0, "finished"), Run("b", "baseline-y", 0, "finished")]
    assert labels(*runs) == ["x", "y"]
    assert labels(*runs, Run("c", "a folder", 0, "finished")) == ["a folder", "x", "y"]


def test_vanilla_grpo_is_the_reference_where_there_is_one():
    arms = group_arms([run("baseline=gain_rl"), run("baseline=vanilla_grpo")])
    assert choose_reference(arms, None) == Reference("vanilla_grpo")


def test_uniform_sampling_is_recognised_by_what_it_runs():
    uniform = {
        "curriculum": {"_target_": "gainrl.curricula.uniform.UniformCurriculum"},
        "admission": {"_target_": "gainrl.admission.all.AdmitAll"},
    }
    arms = group_arms([run("x=1", config=uniform), run("x=2"), run("x=2", seed=1)])
    assert choose_reference(arms, None) == Reference("1")


def test_otherwise_the_arm_with_most_runs_is_the_reference_and_says_that_it_is_a_guess():
    arms = group_arms([run("signal=a"), run("signal=b"), run("signal=b", seed=1)])
    assert choose_reference(arms, None) == Reference(
        "b", "no arm is vanilla GRPO or uniform draws, so it is the one with most runs"
    )
    assert choose_reference(group_arms([run("signal=a"), run("signal=b")]), None).guessed.endswith("the first by name")


def test_several_uniform_arms_leave_the_reference_open():
    uniform = {
        "curriculum": {"_target_": "gainrl.curricula.uniform.UniformCurriculum"},
        "admission": {"_target_": "gainrl.admission.all.AdmitAll"},
    }
    arms = group_arms([run(f"algorithm.group_size={size}", config=uniform) for size in (2, 4)])
    assert choose_reference(arms, None).guessed.startswith("2 arms draw uniformly")


def test_experiments_are_arms_where_that_is_asked_for():
    runs = [run(f"experiment={name}", seed=seed) for name in ("a", "b") for seed in (0, 1)]
    for given in runs:
        given.experiment = given.overrides[0].partition("=")[2]
    assert [arm.label for arm in group_arms(runs)] == ["arm"]
    assert [arm.label for arm in group_arms(runs, by_experiment=True)] == ["a", "b"]


def test_a_setting_within_which_runs_are_compared_names_no_arm():
    runs = [run("baseline=a", "x=1"), run("baseline=b", "x=1"), run("baseline=a"), run("baseline=b")]
    assert [arm.label for arm in group_arms(runs, without=["x"])] == ["a", "b"]


def test_part_of_a_label_is_enough_if_it_fits_one_arm():
    arms = group_arms([run("baseline=gain_rl"), run("baseline=random_order")])
    assert choose_reference(arms, "random") == Reference("random_order")


def test_an_unknown_reference_is_answered_with_the_arms():
    arms = group_arms([run("baseline=gain_rl"), run("baseline=random_order")])
    with pytest.raises(ValueError, match=r"did you mean 'gain_rl'\? the arms are: gain_rl; random_order"):
        choose_reference(arms, "gian_rl")
