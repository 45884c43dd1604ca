"""Whatever documentation, READMEs, messages and comments tell a reader to type is something that is read."""

import re
import shlex
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gainrl.app import evaluate, fetch, observe, rank, train
from gainrl.app.commandline.command import answer
from gainrl.app.commandline.flags import read_flags
from gainrl.app.schema import META, groups, known_keys, read_yaml, target_options
from gainrl.app.signatures import NoSuchTarget
from tests.composition import CONF, ROOT
from tests.docs.test_start import write_files

COMMANDS = {one.COMMAND.name: one.COMMAND for one in (train, evaluate, rank, observe, fetch)}
_FOLDERS = (ROOT, ROOT / "docs", ROOT / "experiments", ROOT / "sweeps")
PAGES = [page for folder in _FOLDERS for page in folder.glob("*.md")] + list(CONF.glob("*/README.md"))
LINE = re.compile(r"^\s*(?:make train ARGS=.)?(gainrl-(?:train|evaluate|rank|observe|fetch)\b[^\n]*)$", re.MULTILINE)
INLINE = re.compile(r"`([^`\n]*)`")
SETTING = re.compile(r"(?:^|[\s'\"(])[+~]{0,2}([a-z_]+(?:[./@][\w./@]+)*)=(\S+)")
# Of other programs, of formulas and of Python, in the same typography.
NOT_OURS = {"COLUMNS", "x", "k", "y", "ddof", "top_k"}


def typed_lines() -> list[str]:
    """Commands of the pages, without comments and explanations beside them, each once."""
    found: dict[str, None] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        spans = [" ".join(span.split()) for span in INLINE.findall(text) if span.split(" ")[0] in COMMANDS]
        for line in [*LINE.findall(text), *spans]:
            typed = re.sub(r"\s+#.*$", "", line)
            typed = re.split(r"\s{3,}(?=[a-z ]+(?:,|$|[a-z]))", typed)[0] if "=" not in typed[40:] else typed
            if "..." not in typed and "<" not in typed:
                found[" ".join(typed.split())] = None
    return list(found)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where the files that the pages name are."""
    folder = tmp_path_factory.mktemp("typed")
    write_files(folder)
    (folder / "my_package").mkdir()
    (folder / "my_package" / "rewards.py").write_text("def score(completion, problem):\n    return 1.0\n")
    for group, text in {
        "curriculum/oldest": "_target_: gainrl.curricula.uniform.UniformCurriculum\n",
        "algorithm/soft": "defaults:\n  - grpo\n",
        "template/mine": "_target_: gainrl.datasets.templates.PromptTemplate\nsystem: Hi.\n",
    }.items():
        path = folder / "my_conf" / f"{group}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize("line", typed_lines())
def test_a_command_of_the_documentation_is_accepted(line, place, monkeypatch):
    if "hydra/launcher=ray" in line:
        pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="pip install 'gainrl[ray]'")
    for tracker in ("tensorboard", "mlflow"):
        if f"logger={tracker}" in line or f",{tracker}" in line:
            pytest.importorskip(tracker, reason=f"pip install {tracker}")
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(place)
    name, *arguments = shlex.split(line)
    command = COMMANDS[name]
    typed = read_flags(arguments, command.flags)
    words = [text for text in typed.settings if "=" in text or text.startswith("~")]  # a line may end in an explanation
    if {"help", "version"} & set(typed.flags):
        return
    write_named_files(words)
    extra = [] if "config_dir" in typed.flags else ["--config-dir", "my_conf"]
    flags = [text for text in arguments if text not in typed.settings]
    assert answer(command, [*flags, *extra, *words])


def write_named_files(words: list[str]) -> None:
    """Files and folders that a command names and that its reader is taken to have: data, models, earlier runs."""
    for key, _, value in (word.partition("=") for word in words):
        path = Path(value)
        if key in ("dataset.train", "dataset.held_out"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        elif key == "run":
            path.mkdir(parents=True, exist_ok=True)
            (path / "config.yaml").touch()
        elif key in ("resume", "model.source") and not path.is_absolute() and value.count("/") != 1:
            path.mkdir(parents=True, exist_ok=True)
            for name in ("config.json", "tokenizer.json", "model.safetensors"):
                (path / name).touch()


def inline_settings() -> list[tuple[str, str, str]]:
    """Settings in the running text of the pages, in messages and in comments: page, key, value."""
    found: dict[tuple[str, str], str] = {}
    sources = [(page, INLINE.findall(page.read_text(encoding="utf-8"))) for page in PAGES]
    code = [*(ROOT / "gainrl").rglob("*.py"), *CONF.rglob("*.yaml")]
    sources += [(path, re.findall(r"type ((?:[\w.@/+~]+=\S+ ?)+)", path.read_text(encoding="utf-8"))) for path in code]
    for page, spans in sources:
        for span in spans:
            for key, value in SETTING.findall(span):
                found.setdefault((key, value.rstrip(".,;:)'\"`")), str(page.relative_to(ROOT)))
    return [(page, key, value) for (key, value), page in found.items()]


ROOTS = {name for command in COMMANDS.values() for name in [*known_keys(command.primary), *groups(command.primary)]}


@pytest.mark.parametrize(
    "setting", [one for one in inline_settings() if re.split(r"[./@]", one[1])[0] in ROOTS - NOT_OURS], ids="=".join
)
def test_a_setting_in_the_running_text_exists(setting):
    _, key, value = setting
    key = key.partition("@")[0] if "@" in key else key
    assert is_option(key, value) or any(key_is_read(key, command.primary) for command in COMMANDS.values())


def is_option(group: str, value: str) -> bool:
    names = re.split(r"[,\[\]]", value.strip("\\'"))
    known = {path.stem for path in (CONF / group).glob("*.yaml")} | {
        "null",
        "",
        "oldest",
        "mine",
        "words",
        "letters",
        "in_file_order",
    }
    return (CONF / group).is_dir() and ("..." in value or "{" in value or "<" in value or set(names) <= known)


@cache
def _options(group: str) -> tuple[Mapping[str, Any], ...]:
    return tuple(read_yaml(path) for path in (CONF / group).glob("*.yaml"))


def key_is_read(path: str, primary: str) -> bool:
    """Whether the primary configuration, or any option of the key's group, has the key or takes it."""
    group, *below = path.split(".")
    if group == "callbacks":
        return True  # names are the user's
    whole = read_yaml(CONF / f"{primary}.yaml")
    starts = [whole.get(group), *_options(group)] if group in whole or (CONF / group).is_dir() else []
    return (not below and group in whole) or any(_reads(node, below) for node in starts)


def _reads(node: Any, below: list[str]) -> bool:
    if not below:
        return True
    if not isinstance(node, Mapping):
        return False
    if "_target_" in node:
        try:
            taken = target_options(str(node["_target_"]))
        except NoSuchTarget:
            return False
        if taken is None or below[0] in taken or below[0] in META:
            return (
                len(below) == 1 or below[0] not in node or node[below[0]] is None or _reads(node[below[0]], below[1:])
            )
        return False
    return below[0] in node and _reads(node[below[0]], below[1:])


def test_the_pages_are_found():
    assert len(typed_lines()) > 40
    assert len(inline_settings()) > 100
