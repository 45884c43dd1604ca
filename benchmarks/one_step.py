"""The files of ours that one default training step runs through, and the lines that docs/one_step.md quotes.

python -m benchmarks.one_step            prints the files, and what is out of date in the page
python -m benchmarks.one_step --write    brings the page up to date
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "one_step.md"
HOP = re.compile(r"^(?P<number>\d+)\. (?P<what>.*)\n   `(?P<path>[\w/.]+):(?P<line>\d+)`\n   `(?P<code>[^`]+)`$", re.M)
COUNT = re.compile(r"\*\*(\d+) files\*\* of ours, (\d+) of them in `gainrl/training`")
# The defaults, at a size that takes seconds.
SMALL = (
    "schedule.steps=2",
    "schedule.prompts_per_step=4",
    "evaluation.limit=1",
    "evaluation.samples=0",
    "rollout.max_new_tokens=12",
    "logger=none",
)


def files_of_a_step() -> list[str]:
    """Paths, relative to ``gainrl``, of the files whose functions the second call of ``training_step`` runs."""
    from hydra import compose, initialize_config_dir
    from rich.console import Console

    import gainrl.app.resolvers  # noqa: F401  (registers resolvers)
    from gainrl.app.paths import config_dir
    from gainrl.app.train import run_job
    from gainrl.training.grpo import GRPOModule

    package = str(ROOT / "gainrl") + "/"
    seen: set[str] = set()

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(package):
            seen.add(frame.f_code.co_filename.removeprefix(package))

    honest: Callable[..., Any] = GRPOModule.training_step

    def profiled(module: GRPOModule, *given: Any) -> Any:
        if module.counters.step == 1:
            sys.setprofile(note)
        try:
            return honest(module, *given)
        finally:
            sys.setprofile(None)

    with tempfile.TemporaryDirectory() as name:
        run = ("run.arm=arm", "run.experiment=null", "run.sweep=null", "run.overrides=[]", f"run.output_dir={name}/run")
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            config = compose("config", [*run, *SMALL])
        GRPOModule.training_step = profiled  # type: ignore[method-assign]
        try:
            run_job(config, Console(file=io.StringIO()))
        finally:
            GRPOModule.training_step = honest  # type: ignore[method-assign]
    return sorted(seen)


def up_to_date(text: str, files: list[str] | None = None) -> str:
    """The page with the line that holds the code of each hop, and with the count of ``files`` unless None.

    Raises ValueError for code that its file does not hold, or holds more than once.
    """

    def hop(match: re.Match[str]) -> str:
        lines = (ROOT / match["path"]).read_text(encoding="utf-8").splitlines()
        places = [number for number, line in enumerate(lines, 1) if match["code"] in line]
        if len(places) != 1:
            raise ValueError(
                f"{match['path']} holds `{match['code']}` in {len(places)} lines; docs/one_step.md needs one"
            )
        return f"{match['number']}. {match['what']}\n   `{match['path']}:{places[0]}`\n   `{match['code']}`"

    text = HOP.sub(hop, text)
    if files is None:
        return text
    training = sum(name.startswith("training/") for name in files)
    return COUNT.sub(f"**{len(files)} files** of ours, {training} of them in `gainrl/training`", text)


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(given)
    files = files_of_a_step()
    for folder, count in sorted(Counter(name.rpartition("/")[0] or "." for name in files).items()):
        names = [name.rpartition("/")[2] for name in files if (name.rpartition("/")[0] or ".") == folder]
        print(f"{folder:<22} {count:>2}  {' '.join(names)}")
    print(f"{len(files)} files")
    old = PAGE.read_text(encoding="utf-8")
    new = up_to_date(old, files)
    if new != old and options.write:
        PAGE.write_text(new, encoding="utf-8")
    elif new != old:
        sys.exit("docs/one_step.md is out of date; python -m benchmarks.one_step --write brings it up to date")


if __name__ == "__main__":
    main()
