"""Does the curriculum need the run's signal, or is all it needs in the data? Answered before a weight loads."""

from __future__ import annotations

import numpy as np

from gainrl.curricula.adarft import AdaRFTCurriculum
from gainrl.signals.protocol import Signal
from gainrl.types import Curriculum, ProblemSet


def needed_signal(
    signal: Signal | None, curriculum: Curriculum, problems: ProblemSet
) -> tuple[Signal | None, list[str]]:
    """The signal to measure, or None, and remarks for the user."""
    if not isinstance(curriculum, AdaRFTCurriculum):
        return signal, []
    difficulties = problems.column("difficulty")
    if curriculum.reads(problems.column("level"), difficulties) != "published":
        return signal, []
    remarks = []
    if signal is not None:
        remarks.append(f"signal={signal.name} is not measured: adarft reads the difficulties of {problems.name}")
    missing = len(problems) if difficulties is None else int(np.isnan(difficulties).sum())
    if missing and curriculum.unlabelled is None:
        remarks.append(
            f"{missing:,} of the {len(problems):,} problems of {problems.name} have no difficulty and never train; "
            "type curriculum.unlabelled=100 to count them as hardest"
        )
    return None, remarks
