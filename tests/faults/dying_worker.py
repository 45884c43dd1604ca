"""What the workers of `tests.faults.dying` run; imports nothing of gainrl, so that a worker starts at once."""

import hashlib
import os
import signal


def judge(name: str, completion: str, one_in: int) -> float:
    digest = hashlib.blake2b(f"{name} {completion}".encode(), digest_size=2).digest()
    if one_in and digest[1] % one_in == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return float(digest[0] % 2)
