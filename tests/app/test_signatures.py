"""Parameters read from source are those that Python finds by importing."""

import inspect
import subprocess
import sys

import pytest
import yaml
from hydra.utils import get_method

from gainrl.app.signatures import VARIES, NoSuchTarget, Unreadable, parameters, plain_types
from tests.composition import CONF


def targets() -> list[str]:
    found = set()

    def walk(node):
        if isinstance(node, dict):
            found.update([node["_target_"]] if "_target_" in node else [])
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    for path in CONF.rglob("*.yaml"):
        walk(yaml.safe_load(path.read_text(encoding="utf-8")))
    return sorted(found)


OTHERS = [
    "torch.optim.SGD",
    "torch.optim.lr_scheduler.StepLR",
    "lightning.pytorch.callbacks.ModelCheckpoint",
    "fractions.Fraction",
    "transformers.get_cosine_schedule_with_warmup",
]


@pytest.mark.parametrize("target", [*targets(), *OTHERS])
def test_parameters_are_those_of_the_imported_target(target):
    real = inspect.signature(get_method(target)).parameters
    assert set(parameters(target)) == {
        VARIES if one.kind is one.VAR_KEYWORD else name
        for name, one in real.items()
        if one.kind is not one.VAR_POSITIONAL
    }


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("gainrl.nothing.Nothing", "there is no module 'gainrl.nothing'"),
        ("gainrl.curricula.gain.Gain", "gainrl.curricula.gain has no 'Gain'"),
        ("nowhere.at.all.X", "there is no module 'nowhere'"),
        ("GainCurriculum", "not the path of anything"),
    ],
)
def test_what_is_not_there_is_named(target, message):
    with pytest.raises(NoSuchTarget, match=message):
        parameters(target)


def test_what_the_source_does_not_show_is_left_to_an_import():
    with pytest.raises(Unreadable):
        parameters("builtins.dict")


def test_classes_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "mine_for_signatures.py").write_text(
        "from dataclasses import dataclass, field\nfrom typing import ClassVar\n"
        "@dataclass(kw_only=True)\nclass Base:\n    a: int\n"
        "@dataclass(kw_only=True)\nclass Settings(Base):\n    b: int = 1\n    c: int = field(init=False)\n"
        "    kind: ClassVar[str] = 'x'\n"
        "class Plain:\n    pass\n"
        "def build(x, *args, y=1, **rest): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert parameters("mine_for_signatures.Settings").keys() == {"a", "b"}
    assert parameters("mine_for_signatures.Plain") == {}
    assert parameters("mine_for_signatures.build").keys() == {"x", "y", VARIES}


def test_nothing_is_imported():
    code = (
        "import sys; from gainrl.app.signatures import parameters; parameters('torch.optim.AdamW'); "
        "parameters('gainrl.models.tiny.TinyModel'); parameters('gainrl.datasets.gsm8k.gsm8k'); "
        "print({'torch', 'transformers', 'datasets', 'gainrl.models'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_types_are_read_without_importing():
    types = plain_types("gainrl.training.schedules.Optimization")
    assert types["max_grad_norm"] is float
    assert plain_types("torch.optim.AdamW")["weight_decay"] is float
    assert plain_types("no.such.thing") == {}
