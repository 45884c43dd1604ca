"""How far log-probabilities in bfloat16 lie from those in float32, with SmolLM2-135M on short tasks.

    python -m benchmarks.precision [--prompts 8]

The same sampled tokens are scored by the training forward in float32 and as ``trainer.precision=bf16-mixed`` runs it.
The second kind of row is what a step's `rollout/logprob_difference_mean` shows: the engine's log-probs of the tokens
that it drew against the training forward's, both at the same weights and in the same precision.
"""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from benchmarks.run_parts import RunParts, add_run_arguments
from benchmarks.tables import print_goal, print_table
from gainrl.functional.streams import stream_key
from gainrl.models.scoring import completion_scores
from gainrl.types import Rollout, SamplingParams

_GROUP_SIZE = 8


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=8)
    add_run_arguments(parser)
    options = parser.parse_args(given)
    parts = RunParts.of(options.overrides, options.threads)
    config, policy = parts.config, parts.policy
    problems = [parts.splits.train[row] for row in range(options.prompts)]
    prompts = parts.template.encode_problems(problems)
    keys = torch.tensor([stream_key(0, "rollout", problem.id) for problem in problems])
    sampling = SamplingParams(group_size=_GROUP_SIZE, max_new_tokens=config.rollout.max_new_tokens)

    def precision(mixed: bool) -> AbstractContextManager[object]:
        return torch.autocast(policy.device.type, torch.bfloat16) if mixed else nullcontext()

    def drawn(*, mixed: bool) -> Rollout:
        with precision(mixed):
            return parts.engine.generate(policy, prompts, sampling, keys)

    def scored(rollout: Rollout, *, mixed: bool) -> Tensor:
        with torch.no_grad(), precision(mixed):
            found = completion_scores(policy, prompts, rollout.completion_ids, rollout.lengths, _GROUP_SIZE).logprobs
        assert found is not None
        return found[rollout.mask].double()

    def sampled(rollout: Rollout) -> Tensor:
        assert rollout.sampling_logprobs is not None
        return rollout.sampling_logprobs[rollout.mask].double()

    full, low = drawn(mixed=False), drawn(mixed=True)
    exact = scored(full, mixed=False)
    rows: list[list[str | float]] = []
    for what, one, other in (
        ("training forward in bfloat16, less that in float32", scored(full, mixed=True), exact),
        ("engine less training forward, both in float32", sampled(full), exact),
        ("engine less training forward, both in bfloat16", sampled(low), scored(low, mixed=True)),
    ):
        difference = (one - other).abs()
        rows.append(
            [what, len(difference), float(difference.mean()), float(difference.max()), float((one - other).mean())]
        )
    print_table(["log-probs of sampled tokens", "tokens", "mean, absolute", "largest", "mean, signed"], rows)
    alarm = config.rollout.mismatch.alarm
    print_goal("engine less training forward in bfloat16", alarm, float(rows[-1][2]), "nats a token", at_most=True)


if __name__ == "__main__":
    main()
