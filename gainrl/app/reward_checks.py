"""Can the rewards judge a run's problems, and what do they put on its record?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from gainrl.app.errors import ConfigError
from gainrl.types import ProblemSet, Reward

_LOOKED_AT = 20


def require_judgeable(reward: Reward, problems: ProblemSet) -> None:
    """Raises ConfigError if a reward can judge less than half of the first problems of a set.

    A reward says so through ``unjudgeable(problem)``: why no completion can be judged, or None. One without this
    method is taken to judge anything. One with rewards of its own for some sources raises ValueError in
    ``check_sources(sources)`` where it has none for one.
    """
    if hasattr(reward, "check_sources"):
        sources = problems.column("source")
        try:
            reward.check_sources([] if sources is None else sources)
        except ValueError as fault:
            raise ConfigError(str(fault)) from None
    unjudgeable = getattr(reward, "unjudgeable", None)
    if unjudgeable is None:
        return
    answers = [unjudgeable(problem) for problem in islice(problems, _LOOKED_AT)]
    reasons = [reason for reason in answers if reason]
    if len(reasons) > len(answers) / 2:
        judged = len(answers) - len(reasons)
        share = f"{judged} of the first {len(answers)} problems" if judged else "nothing"
        raise ConfigError(f"{type(reward).__name__} can judge {share} of {problems.name}. {reasons[0]}")


def stamps(rewards: Iterable[tuple[str, Reward]]) -> dict[str, Any]:
    """What rewards put on record, by the set that they judge, such as how programs are isolated."""
    found = {name: getattr(reward, "stamp", None) for name, reward in rewards}
    return {name: dict(stamp) for name, stamp in found.items() if isinstance(stamp, Mapping) and stamp}


def judge_name(reward: Reward) -> str:
    """The name of a reward in messages: its class, and your function in a custom one."""
    path = getattr(reward, "path", None)
    return f"{type(reward).__name__} ({path})" if isinstance(path, str) else type(reward).__name__
