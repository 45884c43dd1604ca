"""What a run says to a `vllm serve`, and what it does when that fails; a stand-in speaks the server's protocol."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from gainrl.rollouts.vllm import VLLMEngine
from gainrl.rollouts.vllm_remote import ServerFailed
from gainrl.rollouts.vllm_weights import policy_weights
from gainrl.types import SamplingParams
from tests.architectures import build_policy, build_prompts
from tests.rollouts.agreement import completions, keys_for
from tests.training.distributed.forked import forked


class StandIn(ThreadingHTTPServer):
    """Completes a prompt with its last token and the last digit of its seed; keeps weights and requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.version, self.loads, self.asked, self.refuses = "unknown", [], [], None
        self.address = f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str, body: dict) -> dict | None:
        self.asked.append((path, body))
        if path == "/v1/models":
            return {"data": [{"id": "model"}]}
        if path == "/weight_info":
            return {"weight_version": self.version}
        if path == "/collective_rpc":
            assert body["method"] == "reload_weights"
            self.loads.append(load_file(f"{body['kwargs']['weights_path']}/model.safetensors"))
        if path == "/update_weight_version":
            self.version = body["new_version"]
        if path == "/v1/completions":
            ids = [body["prompt"][-1], body["seed"] % 10]
            return {"choices": [{"token_ids": ids, "logprobs": {"token_logprobs": [-0.5, -1.0]}}]}
        return {}


class Answering(BaseHTTPRequestHandler):
    def handle_any(self) -> None:
        server: StandIn = self.server  # type: ignore[assignment]
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        refused = self.path == server.refuses
        text = json.dumps({} if refused else server.answer(self.path, body)).encode()
        self.send_response(404 if refused else 200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = handle_any

    def log_message(self, *given) -> None: ...


def answering() -> StandIn:
    stand_in = StandIn()
    threading.Thread(target=stand_in.serve_forever, daemon=True).start()
    return stand_in


def gone(stand_in: StandIn) -> None:
    stand_in.shutdown()
    stand_in.server_close()


@pytest.fixture
def server():
    stand_in = answering()
    yield stand_in
    gone(stand_in)


@pytest.fixture
def engine(server, tmp_path):
    return VLLMEngine(server=server.address, weights_folder=str(tmp_path / "weights"), timeout_minutes=0.1)


def roll_out(engine, policy, **settings):
    sampling = SamplingParams(**{"group_size": 2, "max_new_tokens": 2} | settings)
    return engine.generate(policy, build_prompts([4, 6]), sampling, keys_for(2))


def test_the_server_gets_new_weights_and_their_version_before_a_rollout_and_only_when_they_changed(server, engine):
    policy = build_policy("llama")
    first = roll_out(engine, policy)
    roll_out(engine, policy)
    assert len(server.loads) == 1
    with torch.no_grad():
        policy.model.lm_head.weight.add_(1.0)
    second = roll_out(engine, policy)
    assert len(server.loads) == 2
    torch.testing.assert_close(server.loads[1]["lm_head.weight"], policy.model.lm_head.weight.detach())
    assert (first.version, second.version) == (policy.version - 1, policy.version)
    order = [path for path, _ in server.asked if path not in ("/weight_info", "/v1/completions", "/v1/models")]
    assert order[:5] == [
        "/pause?mode=wait",
        "/collective_rpc",
        "/reset_prefix_cache",
        "/update_weight_version",
        "/resume",
    ]


def test_a_tied_output_layer_is_sent_under_its_own_name(server, engine):
    policy = build_policy("qwen2")
    assert policy.model.lm_head.weight is policy.model.get_input_embeddings().weight
    roll_out(engine, policy)
    (loaded,) = server.loads
    torch.testing.assert_close(loaded["lm_head.weight"], loaded["model.embed_tokens.weight"])


def test_completions_come_in_order_each_asked_for_with_its_own_seed(server, engine):
    prompts = build_prompts([4, 6])
    rollout = roll_out(engine, build_policy("llama"), temperature=0.7)
    assert [ids[0] for ids in completions(rollout)] == [prompts[0].ids[-1]] * 2 + [prompts[1].ids[-1]] * 2
    assert rollout.sampling_logprobs.tolist() == [[-0.5, -1.0]] * 4
    asked = [body for path, body in server.asked if path == "/v1/completions"]
    assert len({body["seed"] for body in asked}) == 4
    assert {(body["temperature"], body["ignore_eos"], body["return_token_ids"]) for body in asked} == {
        (0.7, True, True)
    }


def test_weights_of_another_run_are_replaced_and_a_change_in_between_is_an_error(server, engine):
    policy = build_policy("llama")
    server.version = f"somebody:{policy.version}"
    roll_out(engine, policy)
    assert len(server.loads) == 1
    answer = server.answer

    def other(path, body):
        if path == "/v1/completions":
            server.version = "somebody:7"
        return answer(path, body)

    server.answer = other
    with pytest.raises(RuntimeError, match="sampled with version None of the weights"):
        roll_out(engine, policy)


def test_the_folder_of_weights_is_left_empty(engine, tmp_path):
    roll_out(engine, build_policy("llama"))
    assert list((tmp_path / "weights").iterdir()) == []


def test_a_server_that_is_not_there_or_was_not_started_for_it_ends_the_run_with_what_to_do(server, engine):
    server.refuses = "/weight_info"
    with pytest.raises(RuntimeError, match=r"refused /weight_info \(404.*VLLM_SERVER_DEV_MODE=1"):
        roll_out(engine, build_policy("llama"))
    nobody = VLLMEngine(server="http://127.0.0.1:9", timeout_minutes=0.1)
    with pytest.raises(ServerFailed, match=r"does not answer.*the same command then goes on from the last checkpoint"):
        roll_out(nobody, build_policy("llama"))


@pytest.mark.parametrize("when", ["at the start", "between two steps"])
def test_a_server_that_dies_ends_all_ranks_with_the_same_message_and_none_waits(tmp_path, when):
    def work(rank):
        server = answering() if rank == 0 else None
        place = [server.address if server else None]
        dist.broadcast_object_list(place, src=0)
        engine = VLLMEngine(server=place[0], weights_folder=str(tmp_path), timeout_minutes=0.1)
        policy = build_policy("llama")
        if when == "between two steps":
            engine.take_weights(policy, policy_weights(policy.model))
            dist.barrier()
        if server:
            gone(server)
        with pytest.raises(ServerFailed) as failed:
            engine.take_weights(policy, policy_weights(policy.model))
        return str(failed.value)

    first, second = forked(work, tmp_path)
    assert first == second
    assert "does not answer /weight_info" in first
