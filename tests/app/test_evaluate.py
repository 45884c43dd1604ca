import io
import json
import shutil
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console

import gainrl.rollouts.hf
from gainrl.app.errors import ConfigError, RunRefused
from gainrl.app.evaluate import run_evaluation
from gainrl.app.evaluation_record import sample_counts
from gainrl.app.trained import with_run_settings
from gainrl.models.tiny import TinyModel
from tests.app.finished import finished_run

CONF = Path(__file__).parents[2] / "conf"
SMALL = [
    "model=tiny",
    "model.warm_start=null",
    "dataset=arithmetic",
    "dataset.terms=[2,3]",
    "dataset.held_out_per_level=3",
    "dataset.train_per_level=4",
    "template=arithmetic",
    "reward=math",
]
QUICK = ["rollout.max_new_tokens=6", "evaluation.samples=2", "evaluation.batch_problems=2", "evaluation.resamples=50"]


def composed(name, overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, list(overrides))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("GAINRL_CACHE", str(tmp_path / "cache"))


def evaluated(folder, *overrides):
    given = [*overrides, f"output_dir={folder}"]
    return run_evaluation(composed("evaluate", given), Console(quiet=True), overrides=given)


@pytest.fixture
def prompts_decoded(monkeypatch):
    """How many prompts the engine was asked to complete."""
    counts = []
    generate = gainrl.rollouts.hf.HFEngine.generate

    def counted(self, policy, prompts, sampling, keys):
        counts.append(len(prompts))
        return generate(self, policy, prompts, sampling, keys)

    monkeypatch.setattr(gainrl.rollouts.hf.HFEngine, "generate", counted)
    return counts


def test_an_evaluation_leaves_every_completion_and_scores_with_intervals(tmp_path):
    result = evaluated(tmp_path / "out", *SMALL, *QUICK)
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == result
    found = result["sets"]["held_out"]
    assert found["problems"] == 6
    scores = ["accuracy", "avg@2", "pass@1", "pass@2", "maj@1", "maj@2", "solution_logprob"]
    assert list(found["scores"]) == scores
    assert found["scores"]["solution_logprob"]["mean"] < 0
    assert set(found["scores"]["accuracy"]) == {"mean", "low", "high"}
    assert {level: part["problems"] for level, part in found["levels"].items()} == {"1": 3, "2": 3}
    assert sum(found["greedy"]["verdicts"].values()) == 6
    assert sum(found["samples"]["verdicts"].values()) == 12
    lines = [json.loads(line) for line in (tmp_path / "out" / "completions.jsonl").read_text().splitlines()]
    assert sorted((line["row"], line["draw"]) for line in lines) == [(r, d) for r in range(6) for d in (-1, 0, 1)]
    assert {"set", "id", "level", "reference_answer", "text", "judgement", "tokens"} <= set(lines[0])


def test_an_interrupted_evaluation_goes_on_where_it_stopped(tmp_path, prompts_decoded):
    whole = evaluated(tmp_path / "out", *SMALL, *QUICK)
    assert sum(prompts_decoded) == 6  # each once, for its greedy completion and its samples
    log, record = tmp_path / "out" / "completions.jsonl", tmp_path / "out" / "record.json"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:9]) + lines[9][:20])  # three problems, and a line cut in the middle
    record.write_text(record.read_text().replace('"finished"', '"interrupted"'))
    prompts_decoded.clear()
    again = evaluated(tmp_path / "out", *SMALL, *QUICK)
    assert sum(prompts_decoded) == 3
    assert again["sets"] == whole["sets"]
    assert len(log.read_text().splitlines()) == 18
    prompts_decoded.clear()
    assert evaluated(tmp_path / "out", *SMALL, *QUICK) == again  # finished: nothing runs
    assert prompts_decoded == []


def test_completions_of_other_settings_or_weights_are_never_mixed(tmp_path):
    evaluated(tmp_path / "out", *SMALL, *QUICK)
    with pytest.raises(RunRefused, match=r"evaluation.seed: 0 there, 1 now"):
        evaluated(tmp_path / "out", *SMALL, *QUICK, "evaluation.seed=1")
    record = tmp_path / "out" / "record.json"
    content = json.loads(record.read_text()) | {"status": "interrupted", "weights": "others"}
    record.write_text(json.dumps(content))
    with pytest.raises(RunRefused, match="other weights"):
        evaluated(tmp_path / "out", *SMALL, *QUICK)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The directory of a run that has ended, with a checkpoint of every step."""
    own = ["rollout.max_new_tokens=5", "rollout.temperature=0.7", "optimizer.optimizer.lr=0.05"]
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    return finished_run(folder, *own, "checkpoint.every_steps=1", "checkpoint.keep=9")


@pytest.fixture
def trained(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_a_run_is_evaluated_with_its_own_settings_unless_others_are_typed(trained, tmp_path):
    quick = [f"run={trained}", "evaluation.samples=1", "evaluation.resamples=50"]
    evaluated(tmp_path / "own", *quick)
    stored = yaml.safe_load((tmp_path / "own" / "config.yaml").read_text())
    assert stored["rollout"]["max_new_tokens"] == 5
    assert stored["evaluation"]["temperature"] == 0.7
    assert stored["reward"]["_target_"].endswith("CustomReward")
    assert stored["model"]["source"] == str(trained / "policy")
    evaluated(tmp_path / "typed", *quick, "rollout.max_new_tokens=4", "reward=math")
    typed = yaml.safe_load((tmp_path / "typed" / "config.yaml").read_text())
    assert typed["rollout"] == stored["rollout"] | {"max_new_tokens": 4}
    assert typed["reward"]["_target_"].endswith("MathReward")


def test_each_set_says_what_judges_it(trained, tmp_path):
    given = [f"run={trained}", "evaluation.samples=0", "evaluation.resamples=50", f"output_dir={tmp_path / 'own'}"]
    console = Console(file=io.StringIO(), width=160)
    run_evaluation(composed("evaluate", given), console, overrides=given)
    (line,) = [line for line in console.file.getvalue().splitlines() if "judged by" in line]
    assert line.startswith("held_out: judged by ")
    assert yaml.safe_load((trained / "config.yaml").read_text())["reward"]["path"] in line


def test_a_checkpoint_is_evaluated_with_the_weights_of_its_step(trained, tmp_path):
    quick = [f"run={trained}", "evaluation.samples=1", "evaluation.resamples=50"]
    for name, chosen in (
        ("own", []),
        ("last", ["checkpoint=step-000003.ckpt"]),
        ("first", ["checkpoint=step-000001.ckpt"]),
    ):
        evaluated(tmp_path / name, *quick, *chosen)
    own, last, first = ((tmp_path / name / "completions.jsonl").read_text() for name in ("own", "last", "first"))
    assert last == own
    assert first != own


@pytest.mark.parametrize(("rank", "kept"), [(0, False), (2, True)])
def test_a_checkpoint_of_an_adapter_needs_the_warm_started_model_below_it(rank, kept, tmp_path):
    warm = {"_target_": "gainrl.training.warm_start.supervised.WarmStart", "steps": 2}
    stored = {"model": {"_target_": "gainrl.models.hub.HubModel", "source": "m", "lora_rank": rank, "warm_start": warm}}
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step-000003.ckpt").touch()
    OmegaConf.save(OmegaConf.create(stored), tmp_path / "config.yaml")
    given = [f"run={tmp_path}", "checkpoint=step-000003.ckpt"]
    config = with_run_settings(composed("evaluate", given), given)
    assert (config.model.warm_start is not None) is kept


def test_a_checkpoint_that_is_torn_or_of_another_model_is_refused(trained, tmp_path):
    chosen = [f"run={trained}", "checkpoint=step-000003.ckpt"]
    with pytest.raises(ConfigError, match="weights of another model"):
        evaluated(tmp_path / "other", *chosen, "+model.intermediate_size=48")
    (trained / "checkpoints" / "step-000003.ckpt").write_bytes(b"torn")
    with pytest.raises(ConfigError, match="cannot be read"):
        evaluated(tmp_path / "torn", *chosen)


@pytest.mark.parametrize(
    ("overrides", "hint"),
    [
        ([], "type model="),
        (["model=tiny"], "type dataset="),
        (["model=tiny", "eval.held_out=false"], "leaves nothing to evaluate"),
        (["run=nowhere"], "run=nowhere holds no config.yaml"),
        (["model=hub", "model.source=./nowhere", "eval=math_suite"], "model.source=./nowhere is no folder"),
        ([*SMALL, "evaluation.batch_problems=0"], "batch_problems=0"),
        ([*SMALL, "rollout.max_new_tokens=0"], "max_new_tokens=0"),
        ([*SMALL, "+eval.rewards.gsm8k={_target_: x}"], "eval.rewards"),
        ([*SMALL, "eval=math_suite", "data_dir=./nowhere"], "holds no gsm8k_test"),
        ([*SMALL, "+dataset.term=[2]"], "did you mean dataset.terms"),
    ],
)
def test_bad_input_is_named_before_any_weight_is_loaded(overrides, hint, tmp_path, monkeypatch):
    monkeypatch.setattr(TinyModel, "load", lambda self: pytest.fail("weights were loaded"))
    with pytest.raises(ValueError, match=hint):
        evaluated(tmp_path / "out", *overrides)
    assert not (tmp_path / "out" / "completions.jsonl").exists()


def test_a_run_without_a_policy_says_so(trained, tmp_path):
    for path in (trained / "policy").iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match="exported no policy yet"):
        evaluated(tmp_path / "out", f"run={trained}")
    with pytest.raises(ConfigError, match=r"which has best\.ckpt, step-000001\.ckpt"):
        evaluated(tmp_path / "out", f"run={trained}", "checkpoint=first.ckpt")


def test_a_suite_has_its_own_reward_and_a_set_may_have_another(tmp_path):
    rows = [{"id": str(i), "problem": f"{i}+1", "answer": str(i + 1)} for i in range(2)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mine.py").write_text("def always(completion, problem):\n    return 1.0\n")
    node = f"{{_target_: gainrl.datasets.jsonl.jsonl, train: null, held_out: {tmp_path}/mine.jsonl}}"
    result = evaluated(
        tmp_path / "out",
        *SMALL,
        *QUICK,
        f"+eval.sets.first={node}",
        f"+eval.sets.second={node}",
        "+reward@eval.rewards.second=custom",
        f"eval.rewards.second.path={tmp_path}/mine.py:always",
    )
    means = {name: found["scores"]["accuracy"]["mean"] for name, found in result["sets"].items()}
    assert means == {"held_out": means["held_out"], "first": 0.0, "second": 1.0}
    assert result["mean_over_sets"]["accuracy"] == pytest.approx((means["held_out"] + 1) / 3)
    assert "maj@2" not in result["mean_over_sets"]  # a reward of one's own knows no votes


def test_numbers_of_samples_are_powers_of_two_and_all():
    assert sample_counts(6) == [1, 2, 4, 6]
    assert sample_counts(8) == [1, 2, 4, 8]
    assert sample_counts(0) == []
