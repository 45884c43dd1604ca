"""A prompt template for each source of a mixture."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from gainrl.datasets.templates import BoundTemplate, PromptTemplate
from gainrl.types import Problem, PromptTokens


class TemplateBySource:
    """Renders each question with the template of its problem's source (`Problem.source_name`).

    ``templates``: one for each source; ``other``: for sources that it does not name (None: their problems are refused).
    Raises ValueError if there is no template at all.
    """

    def __init__(self, *, templates: Mapping[str, PromptTemplate], other: PromptTemplate | None = None) -> None:
        if not templates:
            raise ValueError(
                "template.templates is empty: type template@template.templates.NAME=OPTION for each source of the "
                "mixture"
            )
        self.templates, self.other = dict(templates), other

    def bind(self, tokenizer: Any) -> BoundBySource:
        """These templates on a tokenizer; raises ValueError as `PromptTemplate.bind` does."""
        bound = {name: template.bind(tokenizer) for name, template in self.templates.items()}
        return BoundBySource(bound, None if self.other is None else self.other.bind(tokenizer))


class BoundBySource:
    """Templates by source on one tokenizer; in place of a `BoundTemplate` wherever problems are rendered.

    ``prefix_ids``: the tokens with which the prompts of all templates begin.
    """

    def __init__(self, templates: Mapping[str, BoundTemplate], other: BoundTemplate | None) -> None:
        self.templates, self.other = dict(templates), other
        every = [*self.templates.values(), *([] if other is None else [other])]
        self.prefix_ids: tuple[int, ...] = _shared([one.prefix_ids for one in every])
        marks = {name: one.fingerprint for name, one in self.templates.items()}
        text = json.dumps([marks, None if other is None else other.fingerprint], sort_keys=True)
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]

    def encode_problems(self, problems: Sequence[Problem]) -> list[PromptTokens]:
        """The tokens of each problem's prompt; raises ValueError for a source without a template."""
        places: dict[str, list[int]] = {}
        for place, problem in enumerate(problems):
            places.setdefault(problem.source_name, []).append(place)
        prompts: dict[int, PromptTokens] = {}
        for name, mine in places.items():
            prompts |= zip(mine, self.of(name).encode_problems([problems[place] for place in mine]), strict=True)
        return [prompts[place] for place in range(len(problems))]

    def of(self, source: str) -> BoundTemplate:
        """The template of a source; raises ValueError if it has none."""
        found = self.templates.get(source, self.other)
        if found is None:
            raise ValueError(
                f"No template is given for source {source!r}, only for {', '.join(self.templates)}. Type "
                f"template@template.templates.{source or 'NAME'}=OPTION, or template@template.other=OPTION."
            )
        return found


def _shared(prefixes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The tokens with which all begin."""
    return tuple(column[0] for column in takewhile(lambda column: len(set(column)) == 1, zip(*prefixes, strict=False)))
