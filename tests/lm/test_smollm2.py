"""The pretrained model through the real commands: trained, killed, resumed, evaluated, exported."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gainrl.files import cache_dir
from gainrl.models.hub import HubModel
from tests.composition import content

MODELS = cache_dir() / "models"  # of the user: the suite gets a cache of its own later
FETCHED = any(MODELS.glob("SmolLM2-135M-Instruct.Q4_1-*"))

pytestmark = [pytest.mark.lm, pytest.mark.skipif(not FETCHED, reason=f"no SmolLM2 in {MODELS}; type make lm")]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A cache with the fetched model and nothing else."""
    cache = tmp_path_factory.mktemp("cache")
    (cache / "models").symlink_to(MODELS)
    return os.environ | {"GAINRL_CACHE": str(cache)}


def started(module, *arguments, environment):
    return subprocess.Popen(
        [sys.executable, "-m", f"gainrl.app.{module}", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(module, *arguments, environment):
    process = started(module, *arguments, environment=environment)
    said, _ = process.communicate(timeout=900)
    assert process.returncode == 0, said
    return said


def wait_for(path: Path, process) -> None:
    while not path.exists():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.1)


def test_a_killed_run_goes_on_and_its_policy_is_evaluated_as_a_folder(environment, tmp_path):
    run = tmp_path / "run"
    arguments = ["experiment=smollm2", "debug=fast", "logger=none", f"hydra.run.dir={run}"]
    process = started("train", *arguments, environment=environment)
    wait_for(run / "checkpoints" / "step-000001.ckpt", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()

    said = finished("train", *arguments, environment=environment)
    record = json.loads((run / "record.json").read_text())
    assert record["status"] == "finished"
    assert record["resumed_after"] == [1]
    assert record["metrics"]["steps"] == 2
    assert "chain_sum" in said  # the closing table is by family

    policy = AutoModelForCausalLM.from_pretrained(run / "policy")
    tokenizer = AutoTokenizer.from_pretrained(run / "policy")
    assert policy.config.vocab_size == len(tokenizer) == 49_152
    assert sum(weight.numel() for weight in policy.parameters()) == 134_515_008

    where = f"hydra.run.dir={tmp_path / 'evaluation'}"
    said = finished(
        "evaluate", f"run={run}", "evaluation.samples=0", "evaluation.limit=1", where, environment=environment
    )
    assert "mean of sources" in said
    result = json.loads((tmp_path / "evaluation" / "result.json").read_text())
    means = result["sets"]["held_out"]["mean_over_sources"]
    assert means["accuracy"] == pytest.approx(record["metrics"]["accuracy_final"])


def test_its_prompts_are_ranked_and_its_run_is_observed(environment, tmp_path):
    where = f"hydra.run.dir={tmp_path / 'ranks'}"
    chosen = ["model=smollm2_135m_q4", "dataset=short_tasks", "limit=40"]
    said = finished(
        "rank", *chosen, "signal@others.layer_0=angle", "others.layer_0.layer=0", where, environment=environment
    )
    assert (tmp_path / "ranks" / "report.md").is_file(), said
    where = f"hydra.run.dir={tmp_path / 'observed'}"
    finished("observe", *chosen[:2], "problems=12", where, environment=environment)
    assert {path.stem for path in (tmp_path / "observed").glob("*.png")} == {"maps", "gradients"}


def test_the_model_answers_a_question(environment, monkeypatch):
    monkeypatch.setenv("GAINRL_CACHE", environment["GAINRL_CACHE"])
    policy = HubModel(source=content("model", "smollm2_135m_q4")["source"]).load()
    tokenizer = policy.tokenizer
    turns = [{"role": "user", "content": "What is the opposite of hot?"}]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        out = policy.model.eval().generate(**ids, max_new_tokens=16, do_sample=False)
    assert "cold" in tokenizer.decode(out[0, ids["input_ids"].shape[1] :])
    assert set(policy.stop_ids) == {tokenizer.convert_tokens_to_ids("<|im_end|>")}
