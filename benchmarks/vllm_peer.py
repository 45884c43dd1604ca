"""One side of the comparison of rollouts: `rollout=vllm`, run as a module in an environment that holds vLLM.

``python -m benchmarks.vllm_peer '{"prompts": 32, ...}'`` prints one line of JSON, the figures of `rollouts.measure`.
"""

from __future__ import annotations

import argparse
import json
import sys

import torch


def main(settings: dict) -> None:
    import vllm

    from benchmarks.rollouts import build_subject, measure, rounds
    from gainrl.rollouts.vllm import VLLMEngine

    options = argparse.Namespace(**settings)
    torch.set_num_threads(options.threads)
    engine = VLLMEngine(memory_gib=2.0)
    try:
        ((_, figures),) = measure({"vLLM": rounds(engine, build_subject(), options)}, options.repeats)
    finally:
        engine.close()
    print(json.dumps({"figures": figures, "version": vllm.__version__}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
