"""Runs ``gainrl-train`` in this process on one malformed input and tells how it ended."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from hydra.core.global_hydra import GlobalHydra

from benchmarks.malformed.case import BASE, Case
from benchmarks.malformed.parts import MODEL
from gainrl.app import train
from gainrl.app.identity import RunRecord

LONGEST = 2_500  # characters of a message that somebody reads to its end
_TRACES = ("Traceback", 'File "', "Set the environment variable HYDRA_FULL_ERROR")


class Began(BaseException):
    """The run would have begun: the input was taken for a sound one."""


@dataclass(frozen=True, slots=True)
class Ending:
    """``code``: the exit code, None where the run would have begun. ``written``: files that were not there before."""

    code: int | None
    text: str
    written: tuple[str, ...]
    crash: str = ""

    def faults(self, case: Case) -> list[str]:
        """What is wrong with this ending; empty if nothing is."""
        found = []
        if self.crash:
            found.append(f"an exception came out: {self.crash}")
        elif self.code is None:
            found.append("it was not refused")
        elif self.code != 1:
            found.append(f"exit code {self.code}")
        if any(trace in self.text for trace in _TRACES):
            found.append("a traceback or Hydra's hint at one")
        if self.code == 1 and not self.text.strip():
            found.append("no message")
        if len(self.text) > LONGEST:
            found.append(f"a message of {len(self.text)} characters")
        flat = " ".join(self.text.split())
        if self.code == 1 and case.named and not any(word.strip() in flat for word in case.named):
            found.append(f"names none of: {', '.join(case.named)}")
        if self.written:
            found.append(f"wrote {', '.join(self.written[:5])}")
        return found


def arguments(case: Case) -> list[str]:
    """What is typed: the settings of the good files, then the settings of the case."""
    chosen = tuple(
        f"{group}." for group in ("model", "dataset") if any(s.startswith(f"{group}=") for s in case.settings)
    )
    return [*(setting for setting in BASE if not (chosen and setting.startswith(chosen))), *case.settings]


def sound_model(folder: Path) -> Path:
    """A folder with a model that nothing is wrong with."""
    from gainrl.models.tiny import TinyModel

    policy = TinyModel(hidden_size=16, intermediate_size=16, layers=1, heads=2).load()
    target = folder / "sound"
    policy.model.save_pretrained(target)
    policy.tokenizer.save_pretrained(target)
    return target


def typed(case: Case, folder: Path, model: Path) -> Ending:
    """Types the settings of ``case`` in ``folder``, which it makes, fills and removes; ``model``: of `sound_model`."""
    shutil.copytree(model, folder / MODEL)
    for name, content in case.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    before = _files(folder)
    output = io.StringIO()
    code: int | None = None
    crash = ""
    with _inside(folder), contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        sys.argv = ["gainrl-train", *arguments(case)]
        try:
            train.cli()
        except Began:
            pass
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
            if isinstance(stop.code, str):
                output.write(stop.code)
        except BaseException as fault:
            if isinstance(fault, KeyboardInterrupt):
                raise
            crash = f"{type(fault).__name__}: {fault}"
    written = sorted(_files(folder) - before)
    shutil.rmtree(folder)
    return Ending(code, output.getvalue(), tuple(written), crash)


def _files(folder: Path) -> set[str]:
    # The cached form of a data file that was read stays, for the corrected command.
    paths = (path for path in folder.rglob("*") if path.is_file() and not {"__pycache__", "cache"} & set(path.parts))
    return {str(path.relative_to(folder)) for path in paths}


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """A fresh command in ``folder``: what an earlier one left in this process is gone."""
    here, arguments = Path.cwd(), sys.argv

    def begin(*args: object, **kwargs: object) -> None:
        raise Began

    os.chdir(folder)
    try:
        GlobalHydra.instance().clear()
        train._exit_code = 0
        with mock.patch.object(RunRecord, "begin", begin), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.argv = arguments
        os.chdir(here)
