"""Imports point downwards only, and every package stays with its own third-party libraries."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "gainrl"
LAYERS = {
    "files": 0,
    "functional": 0,
    "types": 1,
    **dict.fromkeys(
        ("models", "datasets", "rewards", "rollouts", "signals", "curricula", "admission", "allocation"), 2
    ),
    "training": 3,
    "report": 4,
    "app": 5,
}
BESIDE = {("signals", "models")}  # the one import between packages of a layer
NUMBERS = {"numpy", "torch"}
LIBRARIES = {
    "files": set(),
    "functional": NUMBERS,
    "types": NUMBERS,
    "models": NUMBERS
    | {"bitsandbytes", "transformers", "tokenizers", "huggingface_hub", "peft", "jinja2", "liger_kernel"},
    "datasets": NUMBERS | {"datasets", "pyarrow", "reasoning_gym", "jinja2"},
    "rewards": NUMBERS | {"math_verify", "latex2sympy2_extended", "sympy", "reasoning_gym"},
    "rollouts": NUMBERS | {"transformers", "safetensors", "vllm"},
    "signals": NUMBERS | {"transformers"},
    "curricula": NUMBERS,
    "admission": NUMBERS,
    "allocation": NUMBERS,
    "training": NUMBERS | {"bitsandbytes", "lightning", "rich", "safetensors"},
    "report": NUMBERS | {"hydra", "yaml", "rich", "pandas", "matplotlib", "jinja2", "wandb", "wandb_workspaces"},
    "app": NUMBERS
    | {
        "filelock",
        "hydra",
        "omegaconf",
        "yaml",
        "lightning",
        "transformers",
        "wandb",
        "wandb_workspaces",
        "rich",
        "pandas",
        "matplotlib",
    },
}


@cache
def imports():
    """(part, file, imported part or None, library or None) of every absolute import, those for types included."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for name in names:
                root, *rest = name.split(".")
                if root == "gainrl":
                    found.append((part, path.name, rest[0], None))
                elif root not in sys.stdlib_module_names:
                    found.append((part, path.name, None, root))
    return found


def test_every_part_has_a_layer():
    parts = {
        path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.name[0] != "_" and path.suffix != ".md"
    }
    assert parts - {"conf"} == set(LAYERS) == set(LIBRARIES)
    assert len(imports()) > 300


def test_imports_point_downwards():
    wrong = [
        f"gainrl/{part}/{file} imports gainrl.{other}"
        for part, file, other, _ in imports()
        if other and other != part and (part, other) not in BESIDE and LAYERS[other] >= LAYERS[part]
    ]
    assert wrong == []


def test_every_package_stays_with_its_libraries():
    wrong = sorted(
        {
            f"gainrl/{part}/{file} imports {library}"
            for part, file, _, library in imports()
            if library and library not in LIBRARIES[part]
        }
    )
    assert wrong == []


@pytest.mark.parametrize("module", ["gainrl", "gainrl.rewards", "gainrl.app.train"])
def test_cheap_imports_stay_cheap(module):
    """Reward workers and ``--help`` start without torch."""
    loaded = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print('torch' in sys.modules)"], capture_output=True, text=True
    )
    assert loaded.stdout.strip() == "False", loaded.stderr
