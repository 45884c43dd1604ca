"""Which run a directory holds: a fingerprint of everything that decides its numbers, and a record of its progress.

Same fingerprint and finished: the stored objective is returned. Same and unfinished: the run goes on. Another
fingerprint: refused, with the differences, unless that run ended before it had computed anything.
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from gainrl.app.errors import RunRefused
from gainrl.files import DRAFT, whole_file
from gainrl.report.plan import leaves

_LOOKED_AT = 200  # neighbours in which a shorter run is looked for
_OF_ANY_RUN = ("record.json", "config.yaml", ".lock", ".hydra")  # there before a run computes anything
_OF_LOGGERS = ("wandb", "tensorboard", "csv")  # have nothing that metrics.csv has not
_loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PACKAGES = ("gainrl", "torch", "lightning", "transformers", "hydra-core", "datasets", "reasoning-gym", "math-verify")


def plain_config(config: DictConfig) -> dict[str, Any]:
    """The resolved configuration as plain values, without Hydra's own node."""
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items() if key != "hydra"}


def identity_part(plain: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the numbers of a run: the configuration without the paths listed in ``identity_excludes``."""
    kept = json.loads(json.dumps(plain))
    for path in [*plain.get("identity_excludes", []), "identity_excludes"]:
        node = kept
        *parents, last = str(path).split(".")
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.pop(last, None)
    return kept


def fingerprint(plain: Mapping[str, Any]) -> str:
    text = json.dumps(identity_part(plain), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


class RunRecord:
    """``record.json`` of a run directory: fingerprint, status, objective, metrics, versions, commit, seconds.

    ``status`` is ``running``, ``finished``, ``failed`` or ``interrupted``; every write replaces the file at once.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "record.json"
        self.content: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else {}
        self._writes = True

    @property
    def status(self) -> str | None:
        return self.content.get("status")

    def keep_to_itself(self) -> None:
        """Stops writing: another process of the run does that."""
        self._writes = False

    def update(self, **values: Any) -> None:
        self.content |= values
        if not self._writes:
            return
        _write_whole(self.path, json.dumps(self.content, indent=2) + "\n")

    def begin(self, plain: Mapping[str, Any]) -> None:
        """Marks the directory as this run's; ``config.yaml`` is written once.

        The record comes first: if the process is killed in between, the same command can take up the directory.
        """
        if self._writes and not self.content:
            (self.folder / "config.yaml").unlink(missing_ok=True)  # of a run that computed nothing
        self.content.pop("fault", None)
        self.update(fingerprint=fingerprint(plain), status="running", versions=versions(), git_commit=git_commit())
        config = self.folder / "config.yaml"
        if self._writes and not config.exists():
            _write_whole(config, yaml.safe_dump(dict(plain), sort_keys=False))


def _write_whole(path: Path, text: str) -> None:
    """Writes a file that appears whole or not at all."""
    with whole_file(path) as draft:
        draft.write_text(text)


def open_run(folder: Path, plain: Mapping[str, Any]) -> RunRecord:
    """The record of a directory that this run may use; writes nothing.

    The record is empty if the directory is new, or holds another run that ended before it had computed anything. Raises
    RunRefused if the directory holds a run with another fingerprint, or files but no run.
    """
    record = RunRecord(folder)
    mark = fingerprint(plain)
    if not record.content:
        strangers = _files(folder, but=(".hydra", ".lock"))
        if strangers:
            raise RunRefused(
                f"{folder} holds files but no run ({', '.join(sorted(strangers)[:5])}), and they might be overwritten; "
                "give an empty or new directory with hydra.run.dir=..."
            )
    elif record.content.get("fingerprint") != mark and not has_computed(folder):
        record.content = {}
    elif record.content.get("fingerprint") != mark:
        stored_path = folder / "config.yaml"
        stored = yaml.safe_load(stored_path.read_text()) if stored_path.exists() else {}
        lines = differences(identity_part(stored), identity_part(plain))
        raise RunRefused(
            f"{folder} holds another run ({record.content.get('fingerprint')}, {record.status}), left as it is.\n"
            + "\n".join(f"  {line}" for line in lines[:20])
            + "\nGive another directory with hydra.run.dir=..., or repeat the settings of that run to go on with it."
            + _how_to_prolong(folder, stored, plain)
            + of_another_version(folder, lines)
        )
    return record


def has_computed(folder: Path) -> bool:
    """Whether a run has finished, or left anything that it computed: metrics, completions, signals, checkpoints."""
    return RunRecord(folder).status == "finished" or bool(_files(folder, but=(*_OF_ANY_RUN, *_OF_LOGGERS)))


def _files(folder: Path, *, but: Sequence[str]) -> list[str]:
    """What a directory holds beside some names, logs, drafts and empty folders."""
    return [
        path.name
        for path in (folder.iterdir() if folder.exists() else ())
        if path.name not in but
        and path.suffix not in (".log", DRAFT)
        and not (path.is_dir() and not any(below.is_file() for below in path.rglob("*")))
    ]


def _how_to_prolong(folder: Path, stored: Mapping[str, Any], plain: Mapping[str, Any]) -> str:
    """What to type where the only difference is a larger number of steps."""
    there, now = identity_part(stored), identity_part(plain)
    before, after = ((part.get("schedule") or {}).get("steps") for part in (there, now))
    if len(differences(there, now)) == 1 and isinstance(before, int) and isinstance(after, int) and before < after:
        return f" To prolong it, type resume={folder} beside schedule.steps={after}, in another directory."
    return ""


def shorter_run(folder: Path, plain: Mapping[str, Any]) -> tuple[Path, int] | None:
    """A run beside ``folder`` that is the same but for fewer steps, and its steps; the longest if there are several.

    ``<arm>/s<seed>`` lie beside each other; runs elsewhere are not looked for.
    """
    mine = identity_part(plain)
    steps = int(mine["schedule"]["steps"])
    found: list[tuple[int, Path]] = []
    for path in sorted(folder.parent.parent.glob(f"*/{folder.name}/config.yaml"))[:_LOOKED_AT]:
        if path.parent == folder or not (path.parent / "checkpoints").is_dir():
            continue
        other = identity_part(yaml.load(path.read_text(encoding="utf-8"), Loader=_loader) or {})
        fewer = (other.get("schedule") or {}).get("steps")
        if isinstance(fewer, int) and fewer < steps:
            other["schedule"] = {**other["schedule"], "steps": steps}
            if other == json.loads(json.dumps(mine)):
                found.append((fewer, path.parent))
    return None if not found else (max(found)[1], max(found)[0])


def differences(stored: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """One line per setting that differs: ``path: there -> now``."""
    there, now = dict(leaves(stored)), dict(leaves(given))
    return [
        f"{path}: {there.get(path, '(absent)')!r} there, {now.get(path, '(absent)')!r} now"
        for path in sorted({*there, *now})
        if there.get(path, "(absent)") != now.get(path, "(absent)")
    ]


def of_another_version(folder: Path, unlike: Sequence[str]) -> str:
    """What to do with a run whose settings had other names: a sentence if another commit made it, else nothing."""
    made, now = RunRecord(folder).content.get("git_commit"), git_commit()
    if not made or not now or made == now or not any("(absent)" in line for line in unlike):
        return ""
    policy = folder / "policy"
    return (
        f"\nThat run was made by gainrl at commit {made[:7]} and this is {now[:7]}: settings have come, gone or been "
        "renamed in between."
        + (f" Its weights load all the same: model=hub model.source={policy}" if policy.is_dir() else "")
    )


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """The commit of the checkout that this package runs from, with ``+changes`` where it differs; None elsewhere."""
    folder = Path(__file__).resolve().parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None or git("ls-files", "--error-unmatch", str(Path(__file__).resolve())) is None:
        return None  # another repository that happens to surround an installation
    return f"{commit}+changes" if git("status", "--porcelain", "--untracked-files=no") else commit
