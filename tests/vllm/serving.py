"""A real ``vllm serve`` on this CPU, for as long as a test needs it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

# vLLM's CPU build has no command of its own; the flags are those with which this package runs it in its own process.
_FLAGS = (
    *("--dtype", "float32", "--max-model-len", "256", "--block-size", "32", "--max-num-batched-tokens", "8192"),
    *("--kv-cache-memory-bytes", str(2**28), "--no-enable-chunked-prefill", "--enforce-eager"),
    *("--logprobs-mode", "processed_logprobs", "--generation-config", "vllm"),
    *("--hf-overrides", '{"tie_word_embeddings": false}'),
)


class Served:
    """A server of the model in ``folder`` on a free port; its output goes to ``log``."""

    def __init__(self, folder: Path, log: Path, *, port: int | None = None) -> None:
        self.port = port or _free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.log = log
        environment = os.environ | {"VLLM_SERVER_DEV_MODE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port), *_FLAGS],
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait(self, seconds: float = 900) -> Served:
        """Until it has answered a first request, for which it compiles kernels: minutes on a busy machine."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                self.ask("/weight_info")
                break
            except OSError:
                time.sleep(0.5)
        else:
            raise AssertionError(f"no server within {seconds} s:\n{self.log.read_text()[-3000:]}")
        model = self.ask("/v1/models")["data"][0]["id"]
        draw = {"model": model, "prompt": [3, 4], "max_tokens": 3, "temperature": 1.0, "seed": 1, "logprobs": 0}
        self.ask("/v1/completions", draw, timeout=seconds)
        return self

    def ask(self, path: str, body: dict | None = None, *, timeout: float = 10) -> dict:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.loads(answer.read())

    def signal(self, number: int) -> None:
        """To the server and the process of its engine."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
        self.process.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
