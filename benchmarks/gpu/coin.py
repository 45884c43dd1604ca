"""A reward that needs no able model: a fair coin that always falls the same way for the same completion."""

from __future__ import annotations

import hashlib


def score(completion: str, problem: object) -> float:
    return float(hashlib.blake2b(completion.encode(), digest_size=1).digest()[0] % 2)
