import pytest
from omegaconf import OmegaConf

from gainrl.app.errors import ConfigError
from gainrl.app.validate import validate
from tests.composition import composed


def message(*overrides):
    with pytest.raises(ConfigError) as caught:
        validate(composed(*overrides))
    return str(caught.value)


def test_the_default_passes():
    validate(composed())


def test_a_key_that_its_target_does_not_take_is_named_with_the_nearest_one():
    assert message("+curriculum.widht=0.2") == (
        "curriculum.widht is not an option of GainCurriculum; did you mean curriculum.width?"
    )
    assert "did you mean algorithm.objective.epsilon?" in message("+algorithm.objective.epsilo=0.2")
    assert "is not an option of UniformCurriculum, which takes no options" in message(
        "baseline=vanilla_grpo", "+curriculum.zzz=1"
    )


def test_everything_wrong_is_listed_at_once():
    lines = message("+curriculum.widht=1", "+reward.worker=1", "schedule.steps=0").splitlines()
    assert [line.split()[0] for line in lines] == ["reward.worker", "curriculum.widht", "schedule.steps=0"]


def test_what_a_constructor_is_given_it_checks_itself():
    validate(composed("dataset=reasoning_gym", "+dataset.tasks.countdown={weight: 2}"))
    validate(composed("reward=weighted", "+reward.weights.mine=1.0"))


def test_values_that_must_be_given_are_asked_for():
    assert message("model=hub") == "model.source has no value; type model.source=..."


def test_a_target_that_cannot_be_imported_is_named():
    assert message("curriculum._target_=gainrl.curricula.nothing.Nothing").startswith(
        "curriculum._target_=gainrl.curricula.nothing.Nothing cannot be imported: "
    )


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("schedule.steps=0", "schedule.steps=0 must be a whole number, 1 or more; type schedule.steps=1"),
        ("schedule.steps=many", "schedule.steps=many must be a whole number, 1 or more"),
        ("rollout.max_new_tokens=1.5", "rollout.max_new_tokens=1.5 must be a whole number"),
        ("seed=null", "seed=None must be a whole number, 0 or more"),
        ("algorithm.micro_batch_size=0", "1 or more, or null; type algorithm.micro_batch_size=1"),
        ("evaluation.every=true", "evaluation.every=True must be a whole number"),
    ],
)
def test_counts_must_be_whole_numbers_in_range(override, reason):
    assert reason in message(override)


def test_null_is_a_value_where_it_means_no_limit():
    validate(composed("evaluation.limit=null", "algorithm.micro_batch_size=null", "records.rollouts_every=null"))


def test_nested_lists_of_targets_are_checked():
    config = OmegaConf.create(
        {"others": [{"_target_": "builtins.dict", "anything": 1}, {"_target_": "fractions.Fraction", "nu": 1}]}
    )
    with pytest.raises(ConfigError, match=r"others\[1\]\.nu is not an option of Fraction"):
        validate(config, "rank")


@pytest.mark.parametrize("precision", ["16-mixed", "16-true", "bf16-true", "transformer-engine", "32"])
def test_precisions_that_do_not_work_are_refused_with_those_that_do(precision):
    reason = message(f"trainer.precision={precision}")
    assert reason.startswith(f"trainer.precision={precision} ")
    assert "type trainer.precision=bf16-mixed" in reason
    assert "trainer.precision=32-true" in reason


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_precisions_that_were_tried_are_accepted(precision):
    validate(composed(f"trainer.precision={precision}"))
