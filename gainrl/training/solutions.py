"""How likely a policy finds worked solutions: a finer measure of what it has learned than which answers are right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from gainrl.datasets.templates import BoundPrompts
from gainrl.models.scoring import completion_scores
from gainrl.models.stops import closing_stop
from gainrl.training.batching import pack_by_tokens
from gainrl.types import Policy, Problem

_TOKENS_AT_ONCE = 8_192


@torch.no_grad()
def solution_logprobs(
    policy: Policy, template: BoundPrompts, problems: Sequence[Problem], *, tokens_at_once: int = _TOKENS_AT_ONCE
) -> np.ndarray:
    """``[N]`` log-probability, in nats per token, of each worked solution behind its prompt, stop token included.

    NaN for a problem without a worked solution, and where prompt and solution are longer than the model can read.
    ``tokens_at_once``: padded tokens of one forward.
    """
    found = np.full(len(problems), np.nan)
    places = [place for place, problem in enumerate(problems) if problem.solution]
    if not places:
        return found
    solved = [problems[place] for place in places]
    prompts = template.encode_problems(solved)
    texts = policy.tokenizer([problem.solution for problem in solved], add_special_tokens=False)["input_ids"]
    stop = closing_stop(policy)
    solutions = [torch.tensor([*ids, stop]) for ids in texts]
    sizes = torch.tensor([len(prompt) + len(ids) for prompt, ids in zip(prompts, solutions, strict=True)])
    longest = getattr(policy.model.config.get_text_config(), "max_position_embeddings", None)
    readable = torch.arange(len(sizes)) if longest is None else (sizes <= longest).nonzero().squeeze(1)
    was_training = policy.model.training
    policy.model.eval()
    try:
        for picked in pack_by_tokens(sizes[readable], tokens_at_once) if len(readable) else []:
            rows = readable[picked].tolist()
            lengths = torch.tensor([len(solutions[row]) for row in rows])
            ids_BT = torch.nn.utils.rnn.pad_sequence([solutions[row] for row in rows], batch_first=True)
            logprobs_BT = completion_scores(policy, [prompts[row] for row in rows], ids_BT, lengths, 1).logprobs
            assert logprobs_BT is not None
            found[[places[row] for row in rows]] = logprobs_BT.double().sum(1).cpu().numpy() / lengths.numpy()
    finally:
        policy.model.train(was_training)
    return found
