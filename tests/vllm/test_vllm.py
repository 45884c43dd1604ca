"""The vLLM engine itself: one server for all tests of a model, since starting one takes seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.vllm
pytest.importorskip(
    "vllm", reason="vLLM is not installed here; `make test-vllm` runs these tests in their own environment"
)

from gainrl.models.tiny import TinyModel  # noqa: E402
from gainrl.rollouts.vllm import VLLMEngine  # noqa: E402
from gainrl.training.upkeep.peak import Plan, engine_sizes, model_sizes  # noqa: E402
from gainrl.types import Policy, PromptTokens, SamplingParams  # noqa: E402
from tests.memory_held import MemoryHeld  # noqa: E402
from tests.rollouts.agreement import check_distribution, check_greedy, completions, keys_for  # noqa: E402

STOPS = (5, 9, 20, 33)


def policy_of(architecture: str, seed: int = 0) -> Policy:
    """A tiny model with tied embeddings, heads of width 32 (vLLM's CPU kernels take no less), and clear decisions."""
    policy = TinyModel(
        architecture=architecture, hidden_size=64, intermediate_size=96, layers=2, heads=2, max_length=128, seed=seed
    ).load()
    policy.stop_ids = STOPS
    disturb(policy, seed)
    return policy


def disturb(policy: Policy, seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.add_(0.15 * torch.randn(parameter.shape, generator=source))
    policy.model.eval()


def prompts_of(lengths: list[int], *, prefix: int = 40) -> list[PromptTokens]:
    source = torch.Generator().manual_seed(0)
    start = torch.randint(35, 100, (prefix,), generator=source).tolist()
    return [
        PromptTokens(
            (*start, *torch.randint(35, 100, (length,), generator=source).tolist()),
            {"question": (prefix, prefix + length)},
        )
        for length in lengths
    ]


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def architecture(request):
    return request.param


@pytest.fixture(scope="module")
def engine(architecture):
    engine = VLLMEngine(memory_gib=0.25)
    yield engine
    engine.close()


def test_greedy_completions_are_those_of_hf_before_and_after_an_update(engine, architecture):
    """Embeddings, norms and projections all change, so that a weight left behind or a stale prefix shows."""
    policy, prompts = policy_of(architecture), prompts_of([3, 9, 17, 30, 9, 12])
    for update in (1, 2):
        check_greedy(engine, policy, prompts, room=24)
        disturb(policy, update)
    check_greedy(engine, policy, prompts, room=24)


@pytest.mark.parametrize("settings", [{"temperature": 0.8}, {"top_k": 6, "top_p": 0.8}])
def test_samples_follow_the_distribution(engine, architecture, settings):
    check_distribution(engine, policy_of(architecture), prompts_of([6])[0], count=1000, **settings)


def test_logprobs_are_those_of_the_tempered_model(engine, architecture):
    policy, prompts = policy_of(architecture), prompts_of([4, 9])
    sampling = SamplingParams(group_size=3, max_new_tokens=8, temperature=0.7)
    rollout = engine.generate(policy, prompts, sampling, keys_for(2))
    for row, ids in enumerate(completions(rollout)):
        prompt = prompts[row // 3].ids
        with torch.no_grad():
            logits = policy.model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1] / 0.7
        expected = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None]).squeeze(1)
        torch.testing.assert_close(rollout.sampling_logprobs[row, : len(ids)], expected, rtol=1e-4, atol=1e-4)
    assert rollout.version == policy.version


def test_a_prompt_s_completions_do_not_depend_on_the_other_prompts(engine, architecture):
    policy, prompts, keys = policy_of(architecture), prompts_of([4, 9, 6, 12]), keys_for(4)
    sampling = SamplingParams(group_size=4, max_new_tokens=6)
    together = completions(engine.generate(policy, prompts, sampling, keys))
    alone = completions(engine.generate(policy, prompts[2:3], sampling, keys[2:3]))
    assert together[8:12] == alone
    assert len({tuple(ids) for ids in together}) > 8


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_vllm_holds_what_the_estimate_says(dtype):
    """10 MiB of keys and values beside 2.5 million weights, tensor by tensor."""
    policy = TinyModel(hidden_size=256, intermediate_size=512, layers=4, heads=8, max_length=128).load()
    policy.stop_ids = STOPS
    engine = VLLMEngine(dtype=dtype, memory_gib=10 / 1024, max_batch_size=8)
    sampling = SamplingParams(group_size=4, max_new_tokens=6)
    try:
        with MemoryHeld() as memory:
            engine.generate(policy, prompts_of([4, 9]), sampling, keys_for(2))
    finally:
        engine.close()
    own = sum(weight.numel() * weight.element_size() for weight in policy.model.parameters())
    expected = engine_sizes(engine, model_sizes(policy.model), Plan())["engine_bytes"]
    assert (memory.most - own) / expected == pytest.approx(1, abs=0.25)


def test_threads_can_still_be_set_and_nothing_is_left_behind(tmp_path):
    """A process of its own starts the engine, closes it, and must have no child and the same threads."""
    script = Path(tmp_path / "script.py")
    script.write_text(
        "import json, psutil, torch\n"
        "from tests.vllm.test_vllm import *\n"
        "engine, policy = VLLMEngine(memory_gib=0.25), policy_of('llama')\n"
        "usual = torch.set_num_threads\n"
        "engine.generate(policy, prompts_of([4]), SamplingParams(group_size=1, max_new_tokens=2), keys_for(1))\n"
        "engine.close()\n"
        "left = [' '.join(child.cmdline()) for child in psutil.Process().children(recursive=True)]\n"
        "print(json.dumps([left, torch.set_num_threads is usual, torch.distributed.is_initialized()]))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.strip().splitlines()[-1]) == [[], True, False]


def test_a_run_trains_with_it_end_to_end(tmp_path):
    """Six steps of the default, with heads of width 32; the engine's log-probs are the training forward's."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "gainrl.app.train", "rollout=vllm", "debug=fast", "model.heads=2", "logger=none"),
            *("rollout.engine.memory_gib=0.25", f"hydra.run.dir={tmp_path / 'run'}"),
        ],
        capture_output=True,
        text=True,
        env=environment() | {"GAINRL_CACHE": str(tmp_path / "cache")},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    header, *rows = [line.split(",") for line in (tmp_path / "run" / "metrics.csv").read_text().splitlines()]
    column = header.index("rollout/logprob_difference_max")
    differences = [float(row[column]) for row in rows if row[column]]
    assert len(differences) == 6
    assert max(differences) < 1e-3


def environment() -> dict[str, str]:
    return dict(os.environ) | {"PYTHONPATH": str(Path(__file__).parents[2])}
