"""TRL's trainer in a process and an environment of its own, that takes a step whenever it is told to."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.step import StepSettings, model_of
from benchmarks.workload import build_prompts, save_for_peer


class Peer:
    """``python``: the interpreter of an environment that holds TRL; ``micro_batches``: parts of a step.

    ``model``: what trains, by default that of the settings' shape; ``cuda``: on a GPU and in bfloat16; ``bf16``: in
    bfloat16 on a CPU. The process starts at once, and the first `step` waits until it is ready, so that several can
    start side by side. Between two steps it waits without using the processor, so that two sides measured in turn meet
    the same machine.
    """

    def __init__(
        self,
        python: str,
        settings: StepSettings,
        *,
        steps: int,
        micro_batches: int,
        threads: int,
        model: Any = None,
        cuda: bool = False,
        bf16: bool = False,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        prompts = [build_prompts(settings.prompts, settings.prompt_length, seed=seed) for seed in range(steps + 1)]
        save_for_peer(
            folder,
            model_of(settings) if model is None else model,
            prompts,
            settings.vocabulary,
        )
        plain = settings.as_dict() | {"steps": steps + 1, "micro_batches": micro_batches, "threads": threads}
        plain |= {"cuda": cuda, "bf16": cuda or bf16}
        (folder / "settings.json").write_text(json.dumps(plain))
        self._errors = folder / "errors"
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [python, str(Path(__file__).with_name("trl_peer.py")), str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.versions: dict[str, str] = {}
        self.micro_batches = micro_batches

    def step(self) -> None:
        """Takes one step and notes its seconds."""
        self.versions = self.versions or self._answer()
        assert self._process.stdin is not None
        self._process.stdin.write("step\n")
        self._process.stdin.flush()
        times = self._answer()
        self.wall.append(times["wall"])
        self.cpu.append(times["cpu"])

    def close(self) -> None:
        """Drops the step that warmed up and ends the process."""
        del self.wall[:1], self.cpu[:1]
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("PEER "):
                return json.loads(line.removeprefix("PEER "))
        raise SystemExit(f"the peer failed:\n{self._errors.read_text()[-3000:]}")
