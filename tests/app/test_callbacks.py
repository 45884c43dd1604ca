"""The group ``callbacks``: Lightning's own beside ours, from the command line to the record of the run."""

import json

import pytest
import yaml
from lightning.pytorch.callbacks import Callback

from gainrl.app.errors import ConfigError
from gainrl.app.identity import RunRecord
from gainrl.app.run import prepare_callbacks
from gainrl.training.callbacks import Checkpoints, ProgressDisplay, Records
from gainrl.training.upkeep.interruption import StopRequest
from tests.app.test_run import no_pictures, run  # noqa: F401
from tests.composition import composed, options, settings

EARLY = (
    "callbacks=[default,early_stopping,model_checkpoint,progress_bar]",
    "callbacks.early_stopping.monitor=step",
    "callbacks.early_stopping.stopping_threshold=1",
    "profile=true",
)


def test_a_run_that_early_stopping_ends_is_finished_and_its_record_says_so(tmp_path):
    """``step`` is above 1 at the end of the first epoch, after step 2 of 3."""
    folder = tmp_path / "run"
    objective, _ = run(folder, *EARLY)
    record = RunRecord(folder).content
    assert record["status"] == "finished"
    assert record["stopped_early"].startswith("stopped after step 2 by EarlyStopping")
    assert record["metrics"]["steps"] == 2
    assert record["objective"] == objective == record["metrics"]["final"]["eval/accuracy"]
    again, text = run(folder, *EARLY)
    assert again == objective
    assert "nothing to do" in text
    assert [path.name for path in (folder / "lightning").iterdir()] == ["step-000002.ckpt"]
    (trace,) = folder.glob("fit-trace-*.json")
    assert json.loads(trace.read_text())["traceEvents"]


def built(*overrides, tmp_path):
    config = composed(*overrides, folder=tmp_path)
    return prepare_callbacks(config, _Components(), tmp_path, None, StopRequest())


class _Components:
    """What callbacks ask of the components of a run."""

    curriculum = None
    evaluation_sets = ()
    concentration = None
    signal = None


@pytest.mark.parametrize("name", [name for name in options("callbacks") if name != "default"])
def test_every_option_of_the_group_is_a_callback_that_stands_beside_ours(name, tmp_path):
    ours, more = built(tmp_path=tmp_path), built(f"callbacks=[default,{name}]", tmp_path=tmp_path)
    assert all(isinstance(callback, Callback) for callback in more)
    replaced = {ProgressDisplay} if name == "progress_bar" else set()
    assert {type(one) for one in more} > {type(one) for one in ours} - replaced
    assert [type(one) for one in more[-2:]] == [Records, Checkpoints]


def test_any_lightning_callback_can_be_typed(tmp_path):
    typed = "+callbacks.es={_target_:lightning.pytorch.callbacks.EarlyStopping,monitor:reward,mode:max}"
    (early,) = (one for one in built(typed, tmp_path=tmp_path) if type(one).__name__ == "EarlyStopping")
    assert (early.monitor, early.mode) == ("reward", "max")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("callbacks=[early_stopping]",), "lacks SignalRefresh, which every run needs; add default to the list"),
        (("~callbacks.checkpoints",), "lacks Checkpoints"),
        (("+callbacks.x={_target_:builtins.dict}",), "callbacks.x is a dict, not a Lightning callback"),
        (("+callbacks.early_stopping={patience:3}",), r"type callbacks=\[default,early_stopping\]"),
        (("callbacks.checkpoints.every_steps=0",), "checkpoint.every_steps=0 must be positive"),
        (("evaluation.temperature=0", "evaluation.samples=2"), "evaluation.temperature=0 gives 2 equal samples"),
    ],
)
def test_callbacks_that_cannot_work_are_refused_with_what_to_type(overrides, message, tmp_path):
    with pytest.raises((ConfigError, ValueError), match=message):
        built(*overrides, tmp_path=tmp_path)


def test_a_callback_of_the_user_gets_what_it_takes_from_the_run(tmp_path):
    typed = "+callbacks.mine={_target_:tests.app.test_callbacks.Mine,_partial_:true,note:hello}"
    mine = next(one for one in built(typed, tmp_path=tmp_path) if isinstance(one, Mine))
    assert (mine.folder, mine.note) == (tmp_path, "hello")


class Mine(Callback):
    def __init__(self, *, folder, note):
        self.folder, self.note = folder, note


def test_what_only_watches_does_not_change_which_run_it_is(tmp_path):
    watching = "callbacks=[default,learning_rate_monitor,model_checkpoint,progress_bar]"
    marks = {tuple(given): settings(*given) for given in ((), (watching,), ("callbacks=[default,early_stopping]",))}
    assert marks[()] == marks[(watching,)]
    assert marks[()] != marks[("callbacks=[default,early_stopping]",)]


def test_the_files_of_the_group_are_plain_values():
    for name in options("callbacks"):
        path = f"conf/callbacks/{name}.yaml"
        with open(path) as file:
            assert all("_target_" in node for node in yaml.safe_load(file).values()), path
