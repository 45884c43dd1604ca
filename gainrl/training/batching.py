"""Which completions go through the model together, and what happens when they do not fit into memory.

A *mini-batch* is what one optimizer step learns from; its counts normalise the loss. A *micro-batch* is what goes
through the model at once. Micro-batches change memory and nothing else. Log-probabilities of the sampling policy are
computed by the training forward itself, in the same micro-batches as the update, so that the ratio of the first update
is exactly 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor

from gainrl.functional.aggregation import Normalizer
from gainrl.functional.memory import out_of_memory, release_cached_memory
from gainrl.functional.objectives import Objective
from gainrl.training.collection import Experience
from gainrl.training.distributed.ranks import Ranks


@dataclass(slots=True)
class MicroBatchLimits:
    """What goes through the model at once; ``tokens`` shrinks where memory ran out."""

    tokens: int
    completions: int | None = None


@dataclass(slots=True)
class MiniBatch:
    """Completions (rows of the experience) of one optimizer step, and this rank's micro-batches of them.

    ``rows`` hold, for all ranks, the completions whose loss can have a gradient; ``normalizer`` counts the others as
    well.
    """

    rows: Tensor
    micro_batches: list[Tensor]
    normalizer: Normalizer

    def halve(self) -> bool:
        """Cuts every micro-batch in two; False if all of them hold a single completion."""
        if all(len(rows) <= 1 for rows in self.micro_batches):
            return False
        self.micro_batches = [half for rows in self.micro_batches for half in rows.tensor_split(2) if len(half)]
        return True


def trainable_rows(advantages_BT: Tensor, mask_BT: Tensor, objective: Objective) -> Tensor:
    """Rows ``[R]`` whose loss has a gradient at all.

    Without a KL in the loss and without an entropy bonus, a completion with zero advantage contributes an exact zero to
    every gradient. In micro-batches of their own such rows change no bit of the optimizer step, so that leaving them
    out gives the same weights. Among other rows they change the shapes of matrix products, and with those the rounding
    of the others' gradients, by about 1e-7 of their size.
    """
    has_tokens = mask_BT.any(dim=1)
    only_policy_term = objective.entropy_coefficient == 0 and not (
        objective.beta > 0 and objective.kl_placement == "loss"
    )
    if only_policy_term:
        has_tokens &= (advantages_BT != 0).any(dim=1)
    return has_tokens.nonzero().squeeze(1)


def plan_minibatches(
    experience: Experience,
    kept_prompts: list[int],
    advantages_BT: Tensor,
    mask_BT: Tensor,
    objective: Objective,
    *,
    minibatch_prompts: int,
    micro_batch_size: int | None,
    micro_batch_tokens: int,
    max_tokens: int,
    every_row: bool = False,
    ranks: Ranks | None = None,
) -> list[MiniBatch]:
    """Splits the kept prompts, in the order of their draw, into mini-batches of ``minibatch_prompts``.

    Replayed prompts come on top and are dealt out to the mini-batches.

    ``every_row``: rows without a policy gradient take part as well, since a critic learns from them. The groups of a
    mini-batch are dealt out to ``ranks``, the longest first.
    """
    ranks = ranks or Ranks()
    prompts, owners, rows_of = experience.prompts, experience.owners, experience.rows_of
    lengths = experience.lengths.cpu()
    prompt_lengths = torch.tensor([len(prompt) for prompt in prompts])
    with_tokens = mask_BT.any(dim=1).nonzero().squeeze(1)
    learning = with_tokens if every_row else trainable_rows(advantages_BT, mask_BT, objective)
    trainable = set(learning.tolist())
    plans = []
    first_replayed = len(prompts) - experience.replayed
    own = [prompt for prompt in kept_prompts if prompt < first_replayed]
    replayed = [prompt for prompt in kept_prompts if prompt >= first_replayed]
    starts = range(0, max(len(own), min(len(replayed), 1)), minibatch_prompts)
    for number, start in enumerate(starts):
        chosen = own[start : start + minibatch_prompts] + replayed[number :: len(starts)]
        members = [row for p in chosen for row in rows_of(p)]
        rows = torch.tensor([row for row in members if row in trainable], dtype=torch.int64)
        micro: list[Tensor] = []
        mine = _share(rows, owners, lengths, prompt_lengths, ranks)
        if len(mine):
            # Groups stay together, so that their members share the prompt's forward.
            for picked in pack_by_tokens(lengths[mine], micro_batch_tokens, owners[mine], prompt_lengths):
                micro.extend(mine[picked].split(micro_batch_size or len(picked)))
        normalizer = Normalizer.of_step(mask_BT[torch.tensor(members)], max_tokens)
        plans.append(MiniBatch(rows, micro, normalizer))
    return plans


def _share(rows: Tensor, owners: Tensor, lengths: Tensor, prompt_lengths: Tensor, ranks: Ranks) -> Tensor:
    """The rows of the groups that this rank learns from, in their order."""
    if ranks.size == 1:
        return rows
    tokens = prompt_lengths.clone().index_add_(0, owners[rows], lengths[rows])
    groups = owners[rows].unique()
    longest_first = groups[tokens[groups].argsort(descending=True, stable=True)]
    return rows[torch.isin(owners[rows], longest_first[ranks.rank :: ranks.size])]


def pack_by_tokens(
    lengths: Tensor, token_budget: int, groups: Tensor | None = None, prompt_lengths: Tensor | None = None
) -> list[Tensor]:
    """Splits rows into micro-batches of at most ``token_budget`` tokens, padding included.

    ``lengths``: ``[R]`` tokens per row. Rows are taken from longest to shortest (equal lengths by index), so that the
    rows of a micro-batch need little padding and the largest micro-batch, which decides the peak of memory, comes
    first. A row longer than the budget forms a micro-batch of its own.

    With ``groups`` (``[R]`` int64: which prompt a row belongs to) and ``prompt_lengths`` (``[P]``, tokens per prompt) a
    prompt counts once for all of its rows in a micro-batch, and ``lengths`` count the tokens of the completions: rows
    of a group stay together, groups are ordered by their longest row, and only a group that exceeds the budget by
    itself is split. Padding counts as ``prompts x longest prompt + rows x longest row``.

    Returns index tensors ``[<=R]`` int64 that partition ``range(R)``; memory changes with the budget, the sum of
    gradients does not. Raises ValueError for a budget below 1, or for ``groups`` without ``prompt_lengths``.
    """
    if token_budget < 1:
        raise ValueError(f"token_budget={token_budget}: a micro-batch holds at least one token; give 1 or more")
    if (groups is None) != (prompt_lengths is None):
        raise ValueError("groups and prompt_lengths belong together: give both, or neither")
    sizes = lengths.to("cpu", torch.int64).clamp_min(1)
    if groups is None or prompt_lengths is None:
        order = torch.argsort(sizes, descending=True, stable=True).tolist()
        prompt_of, prompt_size = list(range(len(order))), [0] * len(order)
    else:
        prompt_of, prompt_size = groups.tolist(), prompt_lengths.tolist()
        longest: dict[int, int] = {}
        for prompt, size in zip(prompt_of, sizes.tolist(), strict=True):
            longest[prompt] = max(longest.get(prompt, 0), size)
        order = sorted(
            range(len(prompt_of)), key=lambda row: (-longest[prompt_of[row]], prompt_of[row], -int(sizes[row]), row)
        )
    return _fill(order, sizes.tolist(), prompt_of, prompt_size, token_budget)


def _fill(
    order: list[int], sizes: list[int], prompt_of: list[int], prompt_size: list[int], token_budget: int
) -> list[Tensor]:
    """Cuts ``order`` into runs within the budget, at the borders of groups where that is possible."""
    blocks: list[list[int]] = []
    for row in order:
        if blocks and prompt_of[blocks[-1][-1]] == prompt_of[row]:
            blocks[-1].append(row)
        else:
            blocks.append([row])

    def cost(rows: int, widest: int, prompts: int, widest_prompt: int) -> int:
        return rows * widest + prompts * widest_prompt

    batches: list[list[int]] = []
    state = (0, 0, 0, 0)
    for block in blocks:
        prompt = prompt_size[prompt_of[block[0]]]
        joined = (state[0] + len(block), max(state[1], sizes[block[0]]), state[2] + 1, max(state[3], prompt))
        if batches and cost(*joined) <= token_budget:
            batches[-1].extend(block)
            state = joined
            continue
        rows_left = block
        while rows_left:
            room = max(1, (token_budget - prompt) // sizes[rows_left[0]])
            batches.append(rows_left[:room])
            state = (len(batches[-1]), sizes[rows_left[0]], 1, prompt)
            rows_left = rows_left[room:]
    return [torch.tensor(batch, dtype=torch.int64) for batch in batches]


Result = TypeVar("Result")


def within_memory(
    attempt: Callable[[], Result], plan: MiniBatch, forget: Callable[[int], None], ranks: Ranks
) -> Result:
    """``attempt()``; where memory runs out on any rank, all halve the micro-batches of ``plan`` and begin again.

    ``forget`` undoes what the failed attempt left; its argument is the number of failures so far. Raises the error of
    the device, or torch.OutOfMemoryError where there are several ranks, when single completions do not fit.
    """
    retries = 0
    while True:
        result, state = None, "done"
        try:
            result = attempt()
        except (RuntimeError, MemoryError) as fault:  # torch.OutOfMemoryError is a RuntimeError
            if not out_of_memory(fault):
                raise
            state = "halved" if plan.halve() else "stuck"
            if state == "stuck" and ranks.size == 1:
                raise
        states = ranks.gather(state)
        if all(each == "done" for each in states):
            return cast("Result", result)
        if "stuck" in states:
            raise torch.OutOfMemoryError(f"a single completion does not fit on rank {states.index('stuck')}")
        if state == "done":
            plan.halve()
        # Outside the handler, whose traceback keeps the tensors of the failed attempt alive.
        retries += 1
        forget(retries)
        release_cached_memory()
