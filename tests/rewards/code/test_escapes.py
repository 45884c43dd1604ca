"""Twelve attacks beside the probes of the self-test: they get nothing from this machine and leave no process behind.

Each prints ``ESCAPED`` and how. All carry a name of their own, which their children inherit, so that whatever stays
behind can be seen wherever it went.
"""

import os
import platform
import secrets
import time
from pathlib import Path

import pytest

from benchmarks.soak import descendants
from tests.rewards.code.test_sandbox import BRIEF

START = """
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(15, b"$NAME", 0, 0, 0)
syscall = libc.syscall
syscall.restype = ctypes.c_long
def reached(what, result):
    if result >= 0:
        print("ESCAPED:", what, result)
"""
ATTACKS = {
    "a daemon by two forks": """
try:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            import time
            time.sleep(600)
        os._exit(0)
    print("ESCAPED: forked")
except OSError:
    pass
""",
    "a process by raw system calls": """
reached("vfork", syscall(58) or os._exit(0))
reached("clone", syscall(56, 17, 0, 0, 0, 0) or os._exit(0))
arguments = (ctypes.c_uint64 * 11)()
arguments[4] = 17
reached("clone3", syscall(435, ctypes.byref(arguments), 88) or os._exit(0))
""",
    "another program": """
for path in (sys.executable, "/proc/self/exe", "/usr/bin/python3", "/bin/sh"):
    try:
        os.execv(path, [path, "-c", "print('ESCAPED: executed')"])
    except OSError:
        pass
memory = syscall(319, b"program", 0)
if memory >= 0:
    try:
        os.write(memory, open(sys.executable, "rb").read())
    except OSError:
        pass
    reached("execveat", syscall(322, memory, b"", None, None, 0x1000))
""",
    "links to a host file": """
for make, name in ((os.symlink, "soft"), (os.link, "hard")):
    try:
        make("$SECRET", name)
        print("ESCAPED:", open(name).read())
    except OSError:
        pass
""",
    "the memory of its parent": """
buffer = ctypes.create_string_buffer(64)
class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
ours, theirs = Vector(ctypes.addressof(buffer), 64), Vector(id(os), 64)
for pid in {os.getppid(), 1, 2, $HOST}:
    if pid != os.getpid():
        reached("process_vm_readv", syscall(310, pid, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0))
        reached("process_vm_writev", syscall(311, pid, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0))
        for file in ("mem", "environ", "maps", "root/etc/passwd"):
            try:
                with open(f"/proc/{pid}/{file}", "rb") as content:
                    print("ESCAPED: reads", content.name, content.read(8))
            except OSError:
                pass
""",
    "descriptors of its parent": """
for pid in {os.getppid(), 1, $HOST}:
    handle = syscall(434, pid, 0)
    if handle >= 0 and pid != os.getpid():
        reached("pidfd_getfd", syscall(438, handle, 0, 0))
        reached("pidfd_send_signal", syscall(424, handle, 0, None, 0))
for descriptor in range(3, 1024):
    try:
        os.fstat(descriptor)
        print("ESCAPED: inherited", descriptor)
    except OSError:
        pass
""",
    "kernel interfaces": """
space = ctypes.create_string_buffer(256)
reached("io_uring_setup", syscall(425, 8, space))
reached("bpf", syscall(321, 0, space, 128))
reached("perf_event_open", syscall(298, space, 0, -1, -1, 0))
reached("userfaultfd", syscall(323, 0))
reached("add_key", syscall(248, b"user", b"name", b"value", 5, -2))
reached("keyctl", syscall(250, 0, -3, 1))
reached("kexec_load", syscall(246, 0, 0, None, 0))
reached("init_module", syscall(175, space, 8, b""))
""",
    "other roots and mounts": """
for name, call in (
    ("chroot", lambda: libc.chroot(b"/tmp")),
    ("mount", lambda: libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None)),
    ("umount", lambda: libc.umount2(b"/", 2)),
    ("pivot_root", lambda: syscall(155, b"/", b"/")),
    ("open_tree", lambda: syscall(428, -100, b"/", 1)),
    ("fsopen", lambda: syscall(430, b"tmpfs", 0)),
    ("unshare", lambda: libc.unshare(0x20000)),
    ("setns", lambda: libc.setns(os.open("/proc/self/ns/mnt", os.O_RDONLY), 0)),
    ("mknod", lambda: libc.mknod(b"device", 0o60666, 0x0801)),
):
    try:
        reached(name, call())
    except OSError:
        pass
""",
    "rights and limits": """
import resource
for name, call in (
    ("setuid", lambda: os.setuid(0)),
    ("setgroups", lambda: os.setgroups([0])),
    ("nice", lambda: os.setpriority(os.PRIO_PROCESS, 0, -20)),
    ("memory", lambda: resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)),
    ("files", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)),
    ("cpu", lambda: resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY,) * 2)),
):
    try:
        call()
        print("ESCAPED: changed", name)
    except (OSError, ValueError):
        pass
header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6)
reached("capset", libc.capset(header, sets))
""",
    "memory shared by key": """
reached("shmget", libc.shmget(0x6A1, 4096, 0o1666))
reached("msgget", libc.msgget(0x6A1, 0o1666))
reached("semget", libc.semget(0x6A1, 1, 0o1666))
reached("mq_open", syscall(240, b"$NAME", 0o102, 0o666, None))
""",
    "sockets of every family": """
import socket
for family in range(1, 46):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        try:
            socket.socket(family, kind).close()
            print("ESCAPED: a socket of family", family)
        except OSError:
            pass
""",
    "files for the next program": """
places = [os.getcwd(), "/tmp", "/var/tmp", "/dev/shm", "/run", os.path.dirname(os.__file__), *sys.path]
for place in filter(None, places):
    for name in ("sitecustomize.py", "usercustomize.py", "$NAME.pth"):
        try:
            with open(os.path.join(place, name), "w") as file:
                file.write("raise SystemExit")
        except OSError:
            pass
try:
    __import__("termios")
    __import__("fcntl").ioctl(0, 0x5412, b"x")
    print("ESCAPED: typed into the terminal")
except (ImportError, OSError):
    pass
""",
}


def named(name):
    """Processes of this machine with that name."""
    pids = []
    for entry in Path("/proc").glob("[0-9]*/comm"):
        try:
            if entry.read_text().strip() == name:
                pids.append(entry.parent.name)
        except OSError:  # it has ended
            continue
    return pids


def settled(before):
    """Waits until no process is below this one that was not there before; a supervisor ends after its answer."""
    deadline = time.monotonic() + 60
    while set(descendants(os.getpid())) - before:
        assert time.monotonic() < deadline, "a process stays behind"
        os.sched_yield()


def test_there_are_twelve():
    assert len(ATTACKS) == 12


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the system calls have these numbers on x86-64")
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_gets_nothing_and_leaves_nothing(runner, tmp_path, attack):
    secret = tmp_path / "secret"
    secret.write_text("canary")
    os.chmod(tmp_path, 0o777)
    secret.chmod(0o666)
    name = "esc" + secrets.token_hex(4)
    text = START + ATTACKS[attack]
    for word, value in (("$NAME", name), ("$SECRET", str(secret)), ("$HOST", str(os.getpid()))):
        text = text.replace(word, value)
    runner.printed("print(1)")
    before = set(descendants(os.getpid()))
    answer = runner.printed(text, limits=BRIEF if attack.startswith("a daemon") else None)
    assert "ESCAPED" not in answer["stdout"]
    assert answer["outcome"] != "sandbox_error"
    assert "SyntaxError" not in answer["detail"]
    settled(before)
    assert named(name) == []
    assert secret.read_text() == "canary"
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    assert runner.printed("print('the next program')")["stdout"] == "the next program\n"
