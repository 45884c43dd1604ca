"""Tokens per second of an evaluation beside those of training's rollouts, with SmolLM2-135M on short tasks.

    python -m benchmarks.evaluation [--problems 200] [--samples 4] [--repeats 5]

An evaluation draws one greedy completion of each problem and ``--samples`` more. A rollout of training draws 8
completions of each of 16 prompts. Both run the weights that ``make lm`` fetches, with the same engine, limit of tokens
and judge. What follows the prompts' common beginning is run once per prompt, so its cost per completion is lower with
eight of them than with five; tokens run include it. Rollouts run before and after the evaluation and count by their
median, so that other work on the machine meets both sides.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from hydra.utils import instantiate

from benchmarks.run_parts import RunParts, add_run_arguments
from benchmarks.tables import print_goal, print_table
from gainrl.functional.streams import stream_key
from gainrl.rollouts.caches import shared_prefix
from gainrl.training.evaluation import EvaluationSet, EvaluationSettings, evaluate, problems_at_once
from gainrl.types import PromptTokens, SamplingParams

_PROMPTS, _GROUP_SIZE = 16, 8


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5, help="rollouts before the evaluation, and as many after it")
    add_run_arguments(parser)
    options = parser.parse_args(given)
    parts = RunParts.of(options.overrides, options.threads)
    config, policy, splits, engine, template = parts.config, parts.policy, parts.splits, parts.engine, parts.template
    reward = instantiate(config.reward, _convert_="all")
    tokens = config.rollout.max_new_tokens
    held_out = splits.held_out.select(range(min(options.problems, len(splits.held_out))))
    train = [splits.train[row] for row in range(_PROMPTS * (2 * options.repeats + 1))]

    def tails(prompts: list[PromptTokens]) -> int:
        """Tokens of prompts that are not computed once for all of them."""
        return sum(map(len, prompts)) - len(prompts) * len(shared_prefix(prompts))

    def rollout(number: int) -> tuple[float, int, int]:
        """Seconds, tokens drawn and tokens run of one step's rollouts; prompts are new every time, as in training."""
        problems = train[_PROMPTS * number : _PROMPTS * (number + 1)]
        sampling = SamplingParams(group_size=_GROUP_SIZE, max_new_tokens=tokens)
        keys = torch.tensor([stream_key(0, "rollout", problem.id) for problem in problems])
        start = time.perf_counter()
        prompts = template.encode_problems(problems)
        drawn = engine.generate(policy, prompts, sampling, keys)
        texts = policy.tokenizer.batch_decode(drawn.completion_ids, skip_special_tokens=True)
        reward.score(texts, [problem for problem in problems for _ in range(_GROUP_SIZE)])
        count = int(drawn.lengths.sum())
        return time.perf_counter() - start, count, count + tails(prompts)

    rollout(0)
    rollouts = [rollout(number) for number in range(1, options.repeats + 1)]
    settings = EvaluationSettings(samples=options.samples, max_new_tokens=tokens)
    start = time.perf_counter()
    completions = evaluate(
        EvaluationSet("held_out", held_out, reward),
        policy,
        engine=engine,
        template=template,
        settings=settings,
        batch_problems=problems_at_once(policy, settings),
    )
    seconds = time.perf_counter() - start
    rollouts += [rollout(number) for number in range(options.repeats + 1, 2 * options.repeats + 1)]
    count = sum(completion.tokens for completion in completions)
    run = count + tails(template.encode_problems(list(held_out)))
    rate, rate_run = count / seconds, run / seconds
    usual, usual_run = (statistics.median(each[kind] / each[0] for each in rollouts) for kind in (1, 2))
    medians = [statistics.median(each[kind] for each in rollouts) for kind in range(3)]
    rows: list[list[str | float]] = [
        [f"evaluation: {len(held_out)} problems x (greedy + {options.samples})", seconds, count, rate, run, rate_run],
        [f"a rollout: {_PROMPTS} prompts x {_GROUP_SIZE}", medians[0], medians[1], usual, medians[2], usual_run],
    ]
    shown = [[f"{cell:,.0f}" if place in (2, 4) else cell for place, cell in enumerate(row)] for row in rows]
    print_table(["what", "seconds", "tokens drawn", "a second", "tokens run", "a second"], shown)
    print_goal("evaluation of SmolLM2-135M", 1.0, rate / usual, "times the rollouts' tokens drawn a second")
    print_goal("evaluation of SmolLM2-135M", 1.0, rate_run / usual_run, "times the rollouts' tokens run a second")


if __name__ == "__main__":
    main()
