"""How a sandbox server is started: which mechanism, which command, which parts of the host it sees."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gainrl.rewards.code.inside import seccomp
from gainrl.rewards.code.inside.confine import NOBODY, SCRATCH, Layers, landlock_version

INSIDE = Path(__file__).parent / "inside"
MOUNTED = "/gainrl"  # where a namespace of its own shows the folder that holds `inside`
START = """
import json, sys
sys.path.insert(0, sys.argv[2])
from inside.server import main
main(json.loads(sys.argv[1]))
"""
FLAGS = ["-s", "-S", "-B", "-P", "-X", "utf8"]  # no site-packages, no byte code, nothing from the working folder
ENVIRONMENT = {"PYTHONHASHSEED": "0"}  # the order of a set is the same in every run; programs see no variables
INSTALL = (
    "Install bubblewrap (Debian, Ubuntu: apt-get install bubblewrap; Fedora: dnf install bubblewrap; "
    "conda: conda install -c conda-forge bubblewrap) and allow unprivileged user namespaces "
    "(sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0), or use a kernel "
    "with Landlock (5.13 or newer)."
)


class SandboxUnavailable(RuntimeError):
    """No isolation of the kind asked for can be had here; the message says why and what to install."""


def python_paths() -> tuple[str, list[str], list[str]]:
    """The interpreter, what it needs to see of the host, and folders of installed packages to hide from it."""
    executable = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    standard_library = Path(os.__file__).resolve().parent
    shared_libraries = [path.resolve() for path in (Path(sys.base_prefix).resolve() / "lib").glob("lib*.so*")]
    system = [Path(path) for path in ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache", "/nix/store")]
    needed = {str(path) for path in (executable, standard_library, *shared_libraries, *system) if path.exists()}
    hidden = standard_library / "site-packages"
    return str(executable), sorted(needed), [str(hidden)] if hidden.is_dir() else []


def layers_of(isolation: str, import_paths: Sequence[str]) -> Layers:
    """The mechanisms behind the name of an isolation; SandboxUnavailable if this machine lacks one."""
    if sys.platform != "linux":
        raise SandboxUnavailable(f"programs are contained by Linux mechanisms, which {sys.platform} lacks")
    if isolation == "bubblewrap":
        if not shutil.which("bwrap"):
            raise SandboxUnavailable(f"bubblewrap: no program `bwrap` on the path. {INSTALL}")
        return Layers(namespaces=True, landlock=False, seccomp=seccomp.available())
    if isolation == "landlock":
        if not landlock_version():
            raise SandboxUnavailable(f"Landlock: the running kernel does not offer it. {INSTALL}")
        if not seccomp.available():
            raise SandboxUnavailable(f"Landlock alone leaves the network open, and {os.uname().machine} has no filter.")
        needed = python_paths()[1]
        return Layers(namespaces=False, landlock=True, seccomp=True, readable=(*needed, *import_paths, str(INSIDE)))
    return Layers(namespaces=False, landlock=False, seccomp=False)


def command_of(layers: Layers, import_paths: Sequence[str]) -> list[str]:
    """The command that starts a server under ``layers``."""
    executable, needed, hidden = python_paths()
    packages = [str(Path(path).resolve()) for path in import_paths]
    mounted = {path: f"/packages/{number}" for number, path in enumerate(packages)}
    config: dict[str, Any] = {
        "layers": {**layers.__dict__, "readable": list(layers.readable)},
        "import_paths": list(mounted.values()) if layers.namespaces else packages,
        "busy_tasks": 0 if layers.namespaces else busy_tasks(),
    }
    home = MOUNTED if layers.namespaces else str(INSIDE.parent)
    python = [executable, *FLAGS, "-c", START, json.dumps(config), home]
    if not layers.namespaces:
        return python
    return bubblewrap(python, {**{path: path for path in needed}, **mounted, str(INSIDE): f"{MOUNTED}/inside"}, hidden)


def bubblewrap(python: list[str], visible: Mapping[str, str], hidden: Sequence[str]) -> list[str]:
    """bwrap around ``python``: namespaces of its own, a read-only root that holds ``visible`` (host: inside) only.

    CAP_SYS_ADMIN holds in the sandbox's own user namespace only. The server needs it to give every program
    namespaces within; programs run without it. Root starts as an ordinary user, because the kernel does not count
    the tasks of root.
    """
    binds: list[tuple[str, str]] = []
    links = []
    for path, target in visible.items():
        if os.path.islink(path) and path.count("/") == 1:  # merged /usr: /lib is a link to usr/lib
            links += ["--symlink", os.readlink(path), path]
        else:
            binds.append((path, target))
    options = [
        *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"),
        *("--unshare-cgroup-try", "--disable-userns", "--uid", "65534", "--gid", "65534", "--hostname", "sandbox"),
        *("--cap-add", "CAP_SYS_ADMIN", "--die-with-parent", "--new-session", "--clearenv"),
        *(part for name, value in ENVIRONMENT.items() for part in ("--setenv", name, value)),
    ]
    tail = [*links]
    for path in hidden:
        tail += ["--tmpfs", path, "--remount-ro", path]
    for device in ("/dev/null", "/dev/zero", "/dev/urandom"):
        tail += ["--dev-bind", device, device]
    tail += ["--dir", SCRATCH, "--remount-ro", "/", "--chdir", "/", "--", *python]
    bwrap = shutil.which("bwrap") or "bwrap"
    if os.geteuid() != 0:
        mounts = [part for source, target in binds for part in ("--ro-bind", source, target)]
        return [bwrap, *options, *mounts, *tail]
    plan = {
        "user": NOBODY,
        "before": [bwrap, *options],
        "binds": [[source, target, not open_to_all(source)] for source, target in binds],
        "after": tail,
    }
    return [python[0], "-I", "-S", "-B", str(INSIDE.parent / "as_ordinary_user.py"), json.dumps(plan)]


def open_to_all(path: str) -> bool:
    """Whether every user may reach ``path``."""
    chain = [Path(path), *Path(path).parents]
    modes = [folder.stat().st_mode for folder in chain]
    return all(mode & stat.S_IXOTH for mode in modes[1:]) and bool(modes[0] & stat.S_IROTH)


def busy_tasks() -> int:
    """Processes and threads that this user runs already: without a user namespace they count towards the limit.

    Root's programs run as a user of their own, which runs nothing else.
    """
    if os.geteuid() == 0:
        return 0
    count = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if entry.stat().st_uid == os.getuid():
                count += len(os.listdir(entry / "task"))
        except OSError:  # ended meanwhile
            continue
    return count + SPARE_TASKS


SPARE_TASKS = 128  # threads the trainer may start after the sandbox


def describe(isolation: str, layers: Layers, python: str) -> dict[str, Any]:
    """What a run's record says of the isolation: plain values."""
    names = [name for name in ("namespaces", "landlock", "seccomp") if getattr(layers, name)]
    return {"isolation": isolation, "layers": [*names, "rlimits"], "contained": bool(names), "python": python}
