"""The reward for programs: run against the problem's tests, in a sandbox.

A program earns 1 if it passes every test and 0 otherwise. Which way it failed is `Verdict.outcome`, a
`CodeOutcome`, and `Verdict.detail` gives the reason. A failure of the sandbox is not a verdict on the program
(`Judgement.ERROR`).
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Literal

from gainrl.functional.thinking import Thinking, ThinkingMode
from gainrl.rewards.code.extraction import assemble
from gainrl.rewards.code.inside.confine import Limits
from gainrl.rewards.code.isolation import INSTALL, SandboxUnavailable
from gainrl.rewards.code.outcomes import CodeOutcome, CodeResult
from gainrl.rewards.code.outputs import DEFAULT_TOLERANCE
from gainrl.rewards.code.runner import SandboxRunner
from gainrl.rewards.code.selftest import require_containment
from gainrl.rewards.code.suites import key_of, suite_of
from gainrl.types import Problem, Verdict

Isolation = Literal["auto", "bubblewrap", "landlock", "unsafe"]
REPEATABLE = frozenset(CodeOutcome) - {CodeOutcome.TIMEOUT, CodeOutcome.SANDBOX_ERROR}  # others depend on the load
FEW_ERRORS = 20
ERROR_WINDOW = 200


class CodeReward:
    """Verdicts on completions by running the programs in them; ``stamp`` says under which isolation, for the record.

    ``isolation``: ``bubblewrap``, ``landlock``, ``auto`` (the first of them that holds here) or ``unsafe`` (no
    isolation at all: for programs you wrote yourself). ``workers``: servers at once, None for one per CPU core.
    ``time_limit_seconds``: CPU time of a run, i.e. of all assertions together or of one input;
    ``wall_clock_seconds``: None for thrice that and two seconds. ``memory_mb``: address space. ``output_limit_kb``:
    printed or returned by a run. ``disk_mb``: scratch space, gone after the run. ``import_paths``: folders of
    packages that programs may import. ``tolerance``: of decimals, absolute or relative,
    where the problem has no tolerance of its own (`outputs`). ``thinking`` and ``prompt_opens_thinking``: see
    `functional.thinking.Thinking`. ``cache_size``: programs whose verdict is remembered. ``max_error_rate``:
    share of sandbox failures among the last 200 programs beyond which `score` raises.

    Raises ValueError for limits that make no sense and SandboxUnavailable, before anything is scored, if the probes
    of `selftest` are not all contained.
    """

    def __init__(
        self,
        *,
        isolation: Isolation = "auto",
        workers: int | None = None,
        time_limit_seconds: float = 6.0,
        wall_clock_seconds: float | None = None,
        memory_mb: int = 1024,
        output_limit_kb: int = 1024,
        disk_mb: int = 16,
        import_paths: Sequence[str] = (),
        tolerance: float = DEFAULT_TOLERANCE,
        thinking: ThinkingMode = "optional",
        prompt_opens_thinking: bool = False,
        cache_size: int = 50_000,
        max_error_rate: float = 0.1,
    ) -> None:
        if isolation not in ("auto", "bubblewrap", "landlock", "unsafe"):
            raise ValueError(f"isolation={isolation} is not known: use auto, bubblewrap, landlock or unsafe")
        if workers is not None and (not isinstance(workers, int) or workers < 1):
            raise ValueError(f"workers={workers} runs nothing: use at least 1, or null for one per CPU core")
        _check_number("time_limit_seconds", time_limit_seconds, 0.1)
        if wall_clock_seconds is None:
            wall_clock_seconds = 3 * time_limit_seconds + 2
        _check_number("wall_clock_seconds", wall_clock_seconds, 0.1)
        _check_number("memory_mb", memory_mb, 128)
        _check_number("output_limit_kb", output_limit_kb, 1)
        _check_number("disk_mb", disk_mb, 1)
        if not isinstance(max_error_rate, (int, float)) or not 0 <= max_error_rate <= 1:
            raise ValueError(f"max_error_rate={max_error_rate} is not a share: use a number from 0 to 1")
        if not isinstance(tolerance, (int, float)) or not (math.isfinite(tolerance) and tolerance >= 0):
            raise ValueError(f"tolerance={tolerance} is not a distance: use a number, 0 or more, such as 1e-6")
        self._tolerance = float(tolerance)
        self.thinking = Thinking(mode=thinking, opened=prompt_opens_thinking)
        limits = Limits(time_limit_seconds, wall_clock_seconds, memory_mb, output_limit_kb, disk_mb)
        self._runner = contained_runner(isolation, workers, limits, import_paths)
        self.stamp: dict[str, Any] = self._runner.stamp
        self.counts: Counter[CodeOutcome] = Counter()
        self._max_error_rate, self._cache_size = max_error_rate, cache_size
        self._cache: OrderedDict[str, CodeResult] = OrderedDict()
        self._recent: deque[bool] = deque(maxlen=ERROR_WINDOW)

    def score(self, completions: Sequence[str], problems: Sequence[Problem]) -> list[Verdict]:
        """One verdict per completion; equal programs for equal tests run once.

        Raises RuntimeError if the sandbox fails so often that training on the rest would mislead.
        """
        waiting: dict[str, Future[CodeResult]] = {}
        results = [self._start(c, p, waiting) for c, p in zip(completions, problems, strict=True)]
        verdicts = [self._finish(result, waiting) for result in results]
        self._require_working_sandbox()
        return verdicts

    def unjudgeable(self, problem: Problem) -> str | None:
        """Why no program for a problem can be judged; None if some can."""
        try:
            suite_of(problem, self._tolerance)
        except ValueError as fault:
            return f"{fault}. reward=math judges reference answers."
        return None

    def _start(self, completion: str, problem: Problem, waiting: dict[str, Future[CodeResult]]) -> str | CodeResult:
        """The key under which the result waits or is remembered, or the result if no run is needed."""
        try:
            suite = suite_of(problem, self._tolerance)
        except ValueError as error:
            return CodeResult(CodeOutcome.UNSUPPORTED_TEST, str(error))
        program = assemble(completion, problem, self.thinking)
        if program is None:
            return CodeResult(CodeOutcome.NO_CODE)
        key = key_of(program, suite)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        if key not in waiting:
            waiting[key] = self._runner.submit(program, suite)
        return key

    def _finish(self, result: str | CodeResult, waiting: dict[str, Future[CodeResult]]) -> Verdict:
        if isinstance(result, str):
            key, result = result, waiting[result].result()
            if result.outcome in REPEATABLE and self._cache_size:
                self._cache[key] = result
                if len(self._cache) > self._cache_size:
                    self._cache.popitem(last=False)
        self.counts[result.outcome] += 1
        self._recent.append(result.outcome is CodeOutcome.SANDBOX_ERROR)
        value = float(result.outcome is CodeOutcome.PASS)
        return Verdict(result.outcome.judgement, value, detail=str(result), outcome=result.outcome.value)

    def _require_working_sandbox(self) -> None:
        errors = sum(self._recent)
        if errors >= FEW_ERRORS and errors > self._max_error_rate * len(self._recent):
            raise RuntimeError(
                f"the sandbox failed for {errors} of the last {len(self._recent)} programs (max_error_rate="
                f"{self._max_error_rate}); the verdicts' details say why"
            )

    def close(self) -> None:
        """Ends the servers; also done when the reward is no longer used and when Python exits."""
        self._runner.close()


def _check_number(name: str, value: Any, least: float) -> None:
    if not isinstance(value, (int, float)) or not least <= value < math.inf:
        raise ValueError(f"{name}={value} leaves a program no room: use a number, at least {least}")


def contained_runner(
    isolation: Isolation, workers: int | None, limits: Limits, import_paths: Sequence[str]
) -> SandboxRunner:
    """The first runner whose isolation can be had and holds; SandboxUnavailable with the reasons if no runner does."""
    reasons = []
    for name in ("bubblewrap", "landlock") if isolation == "auto" else (isolation,):
        try:
            runner = SandboxRunner(isolation=name, workers=workers, limits=limits, import_paths=import_paths)
            if name == "unsafe":
                return runner
            try:
                require_containment(runner)
            except BaseException:
                runner.close()
                raise
            return runner
        except SandboxUnavailable as error:
            reasons.append(str(error))
    raise SandboxUnavailable("\n".join([*reasons, INSTALL, "isolation=unsafe runs programs with no isolation at all."]))
