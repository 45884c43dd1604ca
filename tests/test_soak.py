"""The soak's own arithmetic: it has to notice what it watches for."""

import os
import subprocess
import sys

from benchmarks.soak import GROWTH, Sample, descendants, growth, sample


def samples(*memory):
    return [Sample(memory=value, children=3, files=10, threads=2, scratch=0) for value in memory]


def test_a_soak_notices_growth_and_what_is_left(tmp_path):
    steady = growth(samples(*[900, 900], *[200, 210, 200, 200, 210, 200]))  # the first quarter is left out
    assert steady["memory"] == (200, 200)
    first, last = growth(samples(*range(0, 800, 100)))["memory"]
    assert (first, last) == (300, 600)  # of 200, 300, 400 and of 500, 600, 700
    assert last - first > GROWTH["memory"]
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert child.pid in descendants(os.getpid())
    (tmp_path / "left").touch()
    seen = sample(tmp_path)
    child.communicate(b"\n")
    assert seen.scratch == 1
    assert seen.children >= 1
    assert seen.memory > 1
