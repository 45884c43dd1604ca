import io

from lightning.pytorch.callbacks import Callback
from rich.console import Console

from gainrl.training.callbacks import Evaluation, ProgressDisplay
from gainrl.training.callbacks.progress import Doing
from gainrl.training.runtime import PhaseClock
from tests.training.rig import data_of, fit, module_of


def shown(*, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=160)
    module = module_of()
    callbacks = [Evaluation(every=2, samples=0, max_new_tokens=2), ProgressDisplay(console=console)]
    fit(module, data_of(module, steps=3), callbacks)
    return console.file.getvalue()


def test_in_a_log_file_there_is_one_line_per_evaluation():
    lines = shown(terminal=False).splitlines()
    assert [line.split("held-out")[0].split() for line in lines] == [["step", f"{step}/3"] for step in (0, 2, 3)]
    assert all("by level" in line for line in lines)


def test_on_a_terminal_there_is_a_live_line_as_well():
    text = shown(terminal=True)
    for word in ("reward", "accuracy", "informative", "tokens/s", "ETA"):
        assert word in text


def test_the_live_line_is_there_before_the_first_evaluation():
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    display, seen = ProgressDisplay(console=console), []

    class Evaluates(Callback):
        def on_train_start(self, trainer, module):
            seen.append(display._progress is not None and display._progress.live.is_started)

    module = module_of()
    fit(module, data_of(module, steps=1), [Evaluates(), display])
    assert seen == [True]


def test_the_live_line_names_the_phase_that_the_run_is_in():
    clock = PhaseClock()
    column = Doing(clock)
    with clock("rollout"):
        assert column.render(None).plain.strip() == "rollout"
