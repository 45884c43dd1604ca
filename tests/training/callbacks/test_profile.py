import gzip
import json

from gainrl.training.callbacks import Trace
from tests.training.rig import trained


def step_names(path):
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    return sorted({event["name"] for event in events if event.get("name", "").startswith("step ")})


def test_the_trace_holds_the_steps_after_the_first(tmp_path):
    path = tmp_path / "run" / "trace.json.gz"
    trained(steps=4, callbacks=[Trace(path=path, skip=1, steps=2)])
    assert step_names(path) == ["step 2", "step 3"]


def test_a_run_that_ends_early_is_traced_as_far_as_it_goes(tmp_path):
    path = tmp_path / "trace.json.gz"
    trained(steps=2, callbacks=[Trace(path=path, skip=1, steps=5)])
    assert step_names(path) == ["step 2"]


def test_a_run_of_one_step_is_traced(tmp_path):
    path = tmp_path / "trace.json.gz"
    trained(steps=1, callbacks=[Trace(path=path)])
    assert step_names(path) == ["step 1"]
