"""The recipe in docs/adding_an_objective.md works as printed: its edits apply, and its test passes on the result."""

import importlib
import pathlib
import re
import sys
import types

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "adding_an_objective.md").read_text(encoding="utf-8")
(TEST,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
PRESET = yaml.safe_load(re.search(r"```yaml\n(.*?)```", TEXT, re.S)[1])
IN_ORDER = ("objectives", "policy_loss", "formulas")  # each imports those before it


def edits(name: str) -> list[tuple[str, str]]:
    """What each printed change of a module replaces, and by what."""
    section = re.search(rf"## [^\n]*`gainrl/functional/{name}\.py`\n(.*?)(?=\n## )", TEXT, re.S)[1]
    blocks = [block.splitlines(keepends=True) for block in re.findall(r"```diff\n(.*?)```", section, re.S)]
    return [
        tuple("".join(line[1:] for line in lines if line[0] in kinds) for kinds in (" -", " +")) for lines in blocks
    ]


@pytest.fixture
def changed(monkeypatch):
    """The three modules with the printed changes, in the place of ours."""
    for name in IN_ORDER:
        source = (ROOT / "gainrl" / "functional" / f"{name}.py").read_text(encoding="utf-8")
        for old, new in edits(name):
            assert source.count(old) == 1, f"{name}.py holds this {source.count(old)} times:\n{old}"
            source = source.replace(old, new)
        full = f"gainrl.functional.{name}"
        module = types.ModuleType(full)
        monkeypatch.setitem(sys.modules, full, module)
        monkeypatch.setattr(importlib.import_module("gainrl.functional"), name, module, raising=False)
        exec(compile(source, f"{name}.py", "exec"), module.__dict__)
    return sys.modules["gainrl.functional.objectives"]


def test_the_printed_test_passes_on_the_printed_changes(changed):
    namespace: dict = {}
    exec(TEST, namespace)
    tests = [function for name, function in namespace.items() if name.startswith("test_")]
    assert len(tests) == 2
    for function in tests:
        function()


def test_the_printed_preset_fits_and_a_missing_setting_is_named(changed):
    assert PRESET["defaults"] == ["grpo", "_self_"]
    base = yaml.safe_load((ROOT / "conf" / "algorithm" / "grpo.yaml").read_text())["objective"]
    settings = {key: value for key, value in (base | PRESET["objective"]).items() if key != "_target_"}
    assert changed.Objective(**settings).clip == "soft"
    with pytest.raises(ValueError, match=r"objective\.delta=None with objective\.clip=soft must be > 0"):
        changed.Objective(**(settings | {"delta": None}))
