"""Which tokens end an answer, and which one pads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from jinja2.exceptions import TemplateError

from gainrl.types import Policy


def find_stops(tokenizer: Any, model: Any, *, extra: Sequence[str] = ()) -> tuple[int, ...]:
    """Ids of all tokens that end an answer, the smallest first.

    They are the end tokens of the model's generation settings and configuration, the tokenizer's, the one that closes
    an assistant turn in the chat template, and ``extra``. A model that knows only some of them runs on past its answer.
    Raises ValueError if there is none, or if one of ``extra`` is no token.
    """
    settings = getattr(model, "generation_config", None)
    ids = {
        *_listed(getattr(settings, "eos_token_id", None)),
        *_listed(getattr(model.config, "eos_token_id", None)),
        *_listed(tokenizer.eos_token_id),
        *_listed(end_of_turn(tokenizer)),
    }
    vocabulary = tokenizer.get_vocab()
    for token in extra:
        if token not in vocabulary:
            raise ValueError(f"stop_tokens holds {token!r}, which is no single token of this model; leave it out")
        ids.add(vocabulary[token])
    if not ids:
        raise ValueError("this model names no token that ends an answer; give one with model.stop_tokens=[<token>]")
    return tuple(sorted(int(i) for i in ids))


def end_of_turn(tokenizer: Any) -> int | None:
    """The special token that the chat template writes right after an assistant's text; None if it writes none."""
    if not getattr(tokenizer, "chat_template", None):
        return None
    answer = "answer 42"
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": answer}]
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False)
    except TemplateError:
        return None
    tail = text.rpartition(answer)[2].lstrip()
    ids = tokenizer(tail, add_special_tokens=False)["input_ids"] if tail else []
    return ids[0] if ids and ids[0] in _special_ids(tokenizer) else None


def closing_stop(policy: Policy) -> int:
    """The stop token behind a written-out answer: of several the one that the chat template writes."""
    closing = end_of_turn(policy.tokenizer)
    return closing if closing in policy.stop_ids else policy.stop_ids[0]


def choose_pad(tokenizer: Any, stop_ids: Sequence[int]) -> int:
    """A token to pad with that ends no answer, so that nobody who masks pads ever masks a stop.

    The tokenizer's own if it is no stop, else its unknown token, another special token, or the first other token.
    Padded positions are neither attended to nor trained on, whatever their id.
    """
    candidates = [tokenizer.pad_token_id, tokenizer.unk_token_id]
    specials = sorted(_special_ids(tokenizer))
    named = [i for i in specials if "pad" in tokenizer.convert_ids_to_tokens(i).lower()]
    candidates += [*named, *(i for i in specials if i != tokenizer.bos_token_id), *range(len(tokenizer))]
    return next(int(i) for i in candidates if i is not None and i not in stop_ids)


def _special_ids(tokenizer: Any) -> set[int]:
    added = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | set(tokenizer.all_special_ids)


def _listed(value: int | Iterable[int] | None) -> list[int]:
    if value is None:
        return []
    return [value] if isinstance(value, int) else list(value)
