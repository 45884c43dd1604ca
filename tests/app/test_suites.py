"""``gainrl-evaluate`` on the suites of published sets, and what a run says of the judges it uses."""

import io
import json

import pytest
from hydra import compose, initialize_config_dir
from rich.console import Console

from gainrl.app.errors import ConfigError
from gainrl.app.evaluate import run_evaluation
from gainrl.app.train import run_job
from gainrl.rewards.code import SandboxUnavailable
from tests.composition import CONF, composed
from tests.models.tiny_folders import save_tiny
from tests.published_data import excerpt, needs_data

MATH = {"gsm8k_test": 3, "math500_test": 6, "amc_test": 3, "aime24_test": 3, "olympiadbench_test": 3}
MATH |= {"minerva_math_test": 3}
CODE = {"humaneval_test": 3, "mbpp_test": 3, "codecontests_test": 2}
QUICK = ("rollout.max_new_tokens=4", "evaluation.samples=2", "evaluation.resamples=50")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("models") / "qwen2", "qwen2")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return excerpt(tmp_path_factory.mktemp("data"), MATH | CODE | {"mbpp_train": 8})


@pytest.fixture
def a_model_that_knows(monkeypatch):
    """Every completion is read as the published solution, or as the reference answer in a box."""

    def judge(policy, reward, rollout, problems):
        problems = [problem for problem in problems for _ in range(rollout.group_size)]
        boxed = [f"It is \\boxed{{{problem.reference_answer}}}." for problem in problems]
        texts = [
            f"```python\n{problem.solution or ''}\n```" if "tests" in problem.extra else text
            for problem, text in zip(problems, boxed, strict=True)
        ]
        return texts, reward.score(texts, problems)

    monkeypatch.setattr("gainrl.training.evaluation.score_rollout", judge)


def evaluated(folder, model, data, *overrides):
    """``result.json``, and what the terminal shows."""
    given = ["model=hub", f"model.source={model}", f"data_dir={data}", *QUICK, *overrides, f"output_dir={folder}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("evaluate", given)
    console = Console(file=io.StringIO(), width=200)
    result = run_evaluation(config, console, overrides=given)
    assert json.loads((folder / "result.json").read_text()) == result
    return result, console.file.getvalue()


@needs_data
def test_the_mathematics_suite_judges_every_set_by_its_reference_answers(model, data, tmp_path, a_model_that_knows):
    result, shown = evaluated(tmp_path / "out", model, data, "eval=math_suite")
    assert {name: found["problems"] for name, found in result["sets"].items()} == {
        "gsm8k": 3,
        "math500": 6,
        "amc23": 3,
        "aime24": 3,
        "olympiadbench": 3,
        "minerva": 3,
    }
    for found in result["sets"].values():
        assert found["scores"]["accuracy"]["mean"] == found["scores"]["maj@2"]["mean"] == 1.0
        assert found["greedy"]["verdicts"]["correct"] == found["problems"]
    levels = result["sets"]["math500"]["levels"]
    assert len(levels) > 1
    assert sum(part["problems"] for part in levels.values()) == 6
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "math500 6 100.0 [100,100] 100.0 [100,100] 100.0 [100,100] 100.0 [100,100]" in lines
    assert sum(line.startswith("level ") for line in lines) == len(levels)
    assert any(line.startswith("mean of sets") for line in lines)
    assert any(line.startswith("olympiadbench, samples 100.0") for line in lines)


@needs_data
def test_the_code_suite_runs_published_solutions_against_their_tests(model, data, tmp_path, a_model_that_knows):
    result, shown = evaluated(tmp_path / "out", model, data, "eval=code_suite", "template=code")
    scores = {name: found["scores"]["pass@2"]["mean"] for name, found in result["sets"].items()}
    assert scores == {"humaneval": 1.0, "mbpp": 1.0, "codecontests": 0.0}  # the last publishes no solutions
    outcomes = {name: found["greedy"]["outcomes"] for name, found in result["sets"].items()}
    assert outcomes["humaneval"] == outcomes["mbpp"] == {"pass": 3}
    assert sum(outcomes["codecontests"].values()) == 2
    assert all(stamp["contained"] for stamp in result["judges"].values())
    assert set(result["judges"]) == {"humaneval", "mbpp", "codecontests"}
    assert json.loads((tmp_path / "out" / "record.json").read_text())["judges"] == result["judges"]
    assert "How the programs ended" in shown


@needs_data
def test_a_reward_without_isolation_is_on_record(model, data, tmp_path, a_model_that_knows):
    given = ("eval=code_suite", "template=code", "eval.reward.isolation=unsafe", "~eval.sets.codecontests")
    result, _ = evaluated(tmp_path / "out", model, data, *given, "evaluation.samples=0")
    assert {stamp["isolation"] for stamp in result["judges"].values()} == {"unsafe"}
    assert not any(stamp["contained"] for stamp in result["judges"].values())


# ------------------------------------------------------------------- what cannot be judged is message first


def refused(model, data, folder, *overrides):
    config = composed(
        "model=hub",
        f"model.source={model}",
        f"data_dir={data}",
        "schedule.prompts_per_step=2",
        *("rollout.max_new_tokens=4", "logger=none"),
        *overrides,
        folder=folder,
    )
    with pytest.raises(ConfigError) as fault:
        run_job(config, Console(file=io.StringIO()))
    assert not folder.exists()
    return str(fault.value)


@needs_data
def test_without_a_sandbox_the_message_says_what_to_install_before_weights_load(model, data, tmp_path, monkeypatch):
    def none_here(**settings):
        raise SandboxUnavailable(f"{settings['isolation']} is not here")

    monkeypatch.setattr("gainrl.app.run.load_policy", lambda *given: pytest.fail("weights were loaded"))
    monkeypatch.setattr("gainrl.app.build.load_policy", lambda *given: pytest.fail("weights were loaded"))
    monkeypatch.setattr("gainrl.rewards.code.reward.SandboxRunner", none_here)
    message = refused(model, data, tmp_path / "run", "dataset=mbpp")
    assert "bubblewrap is not here" in message
    assert "landlock is not here" in message
    assert "apt-get install bubblewrap" in message
    with pytest.raises(ConfigError, match="apt-get install bubblewrap"):
        evaluated(tmp_path / "out", model, data, "eval=code_suite", "template=code")


@needs_data
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("dataset=mbpp", "reward=math"), "MathReward can judge nothing of mbpp_train. Problem 'mbpp-601' has no"),
        (("dataset=mbpp", "reward=procedural"), "ProceduralReward can judge nothing of mbpp_train"),
        (("dataset=mbpp", "reward=weighted", "reward.components.length.max_length=9000"), "WeightedReward can judge"),
    ],
)
def test_a_reward_that_cannot_judge_the_data_is_refused(overrides, message, model, data, tmp_path):
    assert message in refused(model, data, tmp_path / "run", *overrides)
