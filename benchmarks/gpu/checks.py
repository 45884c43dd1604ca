"""The checks in the order in which they run: commands and correctness first, the table beside TRL last."""

from __future__ import annotations

from benchmarks.gpu import commands, numbers, speed
from benchmarks.gpu.check import Check

CHECKS = (
    Check(1, "the default, on the GPU against the CPU", "1e-3", numbers.same_numbers, 25),
    Check(10, "stopped by a signal and resumed", "accepted", commands.stopped_and_resumed, 45),
    Check(11, "torchrun with one rank, NCCL", "1e-4", commands.one_rank, 30),
    Check(12, "a sweep of two jobs", "exit code 0", commands.two_jobs, 25),
    Check(2, "0.5B shape, bf16, a step of 64 x 8 x 256", "peak within 25%", speed.step, 40),
    Check(7, "engine against training log-probs", "mean under 0.05", numbers.engine_against_training, 1),
    Check(3, "the same step by TRL", "ours at least 2x", speed.beside_trl, 70),
    Check(6, "attention, 8 x (1024 + 2048), bf16", "no math kernel", numbers.attention, 10),
    Check(8, "evaluation and signal", "bfloat16", numbers.evaluation_and_signal, 25),
    Check(9, "memory runs out in update and rollout", "1e-5", numbers.out_of_memory, 20),
    Check(4, "decoding by hf", "figures", speed.decoding, 20),
    Check(5, "the output layer", "figures", numbers.head, 10),
    Check(13, "compiled, and with liger-kernel", "figures", speed.kernels, 60),
    Check(14, "a table of steps beside TRL's", "figures", speed.table, 90),
)
