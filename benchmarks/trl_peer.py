"""One side of the comparison: TRL's GRPOTrainer, run as a script in an environment of its own.

It imports nothing of gainrl. ``python trl_peer.py FOLDER`` prints a line of JSON with versions, then waits for a line
on its input before every step and answers with a line of JSON: wall and processor seconds of the step.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def say(content: dict) -> None:
    print("PEER " + json.dumps(content), flush=True)


def main(folder: Path) -> None:
    settings = json.loads((folder / "settings.json").read_text())
    import torch

    torch.set_num_threads(settings["threads"])
    import transformers
    import trl
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    inner = settings["inner_epochs"]

    class Clock(TrainerCallback):
        """A step is all optimizer steps on one batch of completions."""

        def __init__(self) -> None:
            self.updates = 0
            self.wall = self.cpu = 0.0

        def on_step_begin(self, *args: object, **kwargs: object) -> None:
            if self.updates % inner == 0:
                if not sys.stdin.readline():
                    sys.exit("the other side has gone")
                self.wall = self.cpu = 0.0
            self.start = time.perf_counter(), time.process_time()

        def on_step_end(self, *args: object, **kwargs: object) -> None:
            self.wall += time.perf_counter() - self.start[0]
            self.cpu += time.process_time() - self.start[1]
            self.updates += 1
            if self.updates % inner == 0:
                say({"wall": self.wall, "cpu": self.cpu})

    def reward(completion_ids: list[list[int]], **kwargs: object) -> list[float]:
        scores = [float(2 * sum(token % 2 for token in ids) <= len(ids)) for ids in completion_ids]
        if settings["half_constant"]:
            group = settings["group_size"]
            scores = [0.0 if (row // group) % 2 else score for row, score in enumerate(scores)]
        return scores

    prompts = json.loads((folder / "prompts.json").read_text())
    rows = settings["prompts"] * settings["group_size"]
    parts = settings["micro_batches"]
    config = GRPOConfig(
        output_dir=str(folder / "trl"),
        per_device_train_batch_size=rows // parts,
        gradient_accumulation_steps=parts,
        steps_per_generation=parts,
        num_generations=settings["group_size"],
        max_completion_length=settings["completion_length"],
        generation_kwargs={"min_new_tokens": settings["completion_length"]},
        num_iterations=inner,
        beta=settings["beta"],
        learning_rate=settings["learning_rate"],
        max_steps=settings["steps"] * inner,
        shuffle_dataset=False,
        gradient_checkpointing=False,
        bf16=settings["bf16"],
        use_cpu=not settings["cuda"],
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_num_workers=0,
    )
    trainer = GRPOTrainer(
        model=str(folder / "model"),
        reward_funcs=reward,
        args=config,
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        callbacks=[Clock()],
    )
    say({"trl": trl.__version__, "transformers": transformers.__version__, "torch": torch.__version__})
    trainer.train()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
