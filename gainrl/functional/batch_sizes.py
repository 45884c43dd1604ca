"""Sizes of groups and of minibatches, checked without torch, so that a wrong one is refused at once."""

from __future__ import annotations


def check_group_size(group_size: int, *, compares: bool) -> None:
    """Raises ValueError for a group without completions, or with one where advantages compare those of a prompt."""
    if group_size < 1:
        raise ValueError(f"algorithm.group_size={group_size}: a prompt needs 1 completion or more")
    if group_size < 2 and compares:
        raise ValueError(
            f"algorithm.group_size={group_size}: advantages compare the completions of one prompt, so a group "
            "needs at least 2; type algorithm.group_size=8"
        )


def minibatch_size(minibatch_prompts: int | None, prompts_per_step: int) -> int:
    """Prompts per optimizer step, all of a step's for None. Raises ValueError where they do not divide the step."""
    size = minibatch_prompts or prompts_per_step
    if prompts_per_step < 1 or size < 1 or prompts_per_step % size:
        raise ValueError(
            f"algorithm.minibatch_prompts={size} does not divide schedule.prompts_per_step={prompts_per_step}, so "
            "that optimizer steps would differ in size; type algorithm.minibatch_prompts="
            f"{_largest_divisor(prompts_per_step, size)}"
        )
    return size


def _largest_divisor(number: int, limit: int) -> int:
    return max((d for d in range(1, max(1, number) + 1) if number % d == 0 and d <= max(1, limit)), default=1)
