"""The lines of docs/operate.md that bring a table of metrics to TensorBoard, as they stand."""

import re
import sys
import types

from tests.composition import ROOT


def test_metrics_reach_tensorboard(tmp_path, monkeypatch):
    (tmp_path / "metrics.csv").write_text("step,reward,eval/accuracy\n0,,0.25\n1,0.5,\n2,0.75,0.5\n")
    (code,) = re.findall(
        r"```python\n(# to_tensorboard.*?)```", (ROOT / "docs" / "operate.md").read_text(encoding="utf-8"), re.DOTALL
    )
    written = []

    class SummaryWriter:
        def __init__(self, folder):
            assert folder == f"{tmp_path}/tensorboard"

        def __enter__(self):
            return self

        def __exit__(self, *fault):
            pass

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(sys, "argv", ["to_tensorboard.py", str(tmp_path)])
    exec(code, {})
    assert [row for row in written if row[0] == "reward"] == [("reward", 0.5, 1), ("reward", 0.75, 2)]
    assert [row for row in written if row[0] == "eval/accuracy"] == [
        ("eval/accuracy", 0.25, 0),
        ("eval/accuracy", 0.5, 2),
    ]
