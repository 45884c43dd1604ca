"""Malformed templates, rewards and models: texts, files and folders that a user brings along."""

from __future__ import annotations

import json
import random

from benchmarks.malformed.case import DATA, Case
from benchmarks.malformed.data import good_rows, lines

MODEL = "model"  # the folder of a sound model in every case of this file
_MODEL = ("model=hub", f"model.source={MODEL}")
CHAT_TEMPLATES = {
    "syntax": "{% for m in messages %}{{ m.content }",
    "an unknown tag": "{% repeat %}{{ messages[0].content }}",
    "an unknown filter": "{{ messages[0].content | sing }}",
    "an unknown function": "{{ sing(messages) }}",
    "drops the question": "Answer me.{% if add_generation_prompt %}\n{% endif %}",
    "changes the question": "{% for m in messages %}{{ m.content | upper }}{% endfor %}",
    "reverses the question": "{{ messages[-1].content[::-1] }}",
    "raises": "{{ raise_exception('no') }}",
    "divides by zero": "{{ 1 / 0 }}{{ messages[0].content }}",
    "opens thinking": "{% for m in messages %}{{ m.content }}{% endfor %}\n<think>\n",
    "wants a list": "{% for m in messages %}{{ m.content[0].text.value }}{% endfor %}",
    "is empty": "",
    "says it twice": "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}",
}
TEMPLATES = (
    ("template.plain_form=Why", "plain_form"),
    ("template.plain_form='{question} {question}'", "plain_form"),
    ("template.plain_form=''", "plain_form"),
    ("template.plain_form=5", "plain_form"),
    ("template.chat=maybe", "chat"),
    ("template.chat=null", "chat"),
    ("template.thinking=never", "thinking"),
    ("template.thinking=null", "thinking"),
    ("template.thinking=[none]", "thinking"),
    ("template.opens_thinking=true", "opens_thinking"),
    ("template.opens_thinking=1", "opens_thinking"),
    ("template.opens_thinking=perhaps", "opens_thinking"),
    ("template.thinking=none template.opens_thinking=true", "thinking"),
    ("template.opens_thinking=true template.chat=plain", "opens_thinking"),
    ("reward.thinking=never", "thinking"),
    ("reward.thinking=none reward.prompt_opens_thinking=true", "thinking"),
    ("reward.prompt_opens_thinking=maybe", "thinking"),
    ("template=paper template.example.question=''", "example"),
    ("template=paper template.example.answer=null", "example"),
    ("template=paper template.example=5", "example"),
    ("template=paper ~template.example.answer", "example"),
    ("template.chat=required template.plain_form='{question}' +template.tone=kind", "tone"),
    ("template=boxed template.instruction=[a]", "instruction"),
    ("template=boxed template.instruction=5", "instruction"),
    ("template=paper template.system=[a]", "system"),
    ("template=paper template.system=5", "system"),
    ("+template.chat_arguments=5", "chat_arguments"),
)
REWARDS = {
    "syntax": "def score(completion, problem) return 1.0",
    "no function": "x = 1",
    "one parameter": "def score(completion):\n    return 1.0",
    "three parameters": "def score(completion, problem, more):\n    return 1.0",
    "a keyword": "def score(completion, problem, *, more):\n    return 1.0",
    "async": "async def score(completion, problem):\n    return 1.0",
    "an import": "import no_such_package\ndef score(completion, problem):\n    return 1.0",
    "an exception": "raise RuntimeError('no')",
    "an exit": "import sys\nsys.exit(3)",
    "a number": "score = 1.0",
    "tabs": "def score(completion, problem):\n\tx = 1\n        return x",
    "a zero byte": "def score(completion, problem):\n    return '\0'",
    "an encoding": "# coding: klingon\ndef score(completion, problem):\n    return 1.0",
}
PATHS = (
    "mine",
    "mine.py",
    "mine.py:",
    ":score",
    "nowhere.py:score",
    "no_such_package:score",
    "json:no_such",
    ".:score",
)
REWARD_SETTINGS = (
    ("reward=weighted reward.weights.math=many", "weights"),
    ("reward=weighted reward.weights.math=nan", "weights"),
    ("reward=weighted ~reward.weights.math", "weights"),
    ("reward=weighted +reward.weights.style=1", "weights"),
    ("reward=weighted reward.verdict_from=style", "verdict_from"),
    ("reward=weighted ~reward.components.math", "weights"),
    ("reward=weighted reward.weights.math=0 reward.weights.format=0 reward.weights.length=0", "weights"),
    ("reward=length reward.soft_zone=0", "soft_zone"),
    ("reward=length reward.soft_zone=99999", "soft_zone"),
    ("reward=length reward.unit=words", "unit"),
    ("reward=format reward.thinking=forbidden", "thinking"),
    ("reward=procedural", "task"),
    ("reward=procedural reward.extract=all", "extract"),
    ("reward=code reward.isolation=docker", "isolation"),
    ("reward=code reward.workers=0", "workers"),
    ("reward=code reward.memory_mb=1", "memory_mb"),
    ("reward=code reward.tolerance=-1", "tolerance"),
    ("reward=code reward.tolerance=nan", "tolerance"),
    ("reward=code reward.time_limit_seconds=0", "time_limit_seconds"),
    ("reward=custom", "path"),
    ("reward=custom reward.path=tests.composition:coin reward.correct_at=nan", "correct_at"),
)
BROKEN_MODELS = ("config.json", "tokenizer.json", "tokenizer_config.json")


def _case(kind: str, name: str, *settings: str, named: str, files: dict[str, bytes] | None = None) -> Case:
    content = "\n".join(lines(good_rows(random.Random(0)))).encode()
    return Case(kind, name, settings, {DATA: content} | (files or {}), (named,))


def chat_template(rng: random.Random) -> Case:
    name = rng.choice(sorted(CHAT_TEMPLATES))
    settings = (*_MODEL, "model.chat_template=chat.jinja", "template.chat=required")
    text = CHAT_TEMPLATES[name] + "{# " + "x" * rng.randrange(4) + " #}" * bool(CHAT_TEMPLATES[name])
    return _case("template", f"chat template: {name}", *settings, named="template", files={"chat.jinja": text.encode()})


def template_setting(rng: random.Random) -> Case:
    typed, named = rng.choice(TEMPLATES)
    return _case("template", typed, *_split(typed), named=named)


def reward_file(rng: random.Random) -> Case:
    if rng.random() < 0.4:
        path = rng.choice(PATHS)
        return _case("reward", f"path {path}", "reward=custom", f"'reward.path={path}'", named="path")
    name = rng.choice(sorted(REWARDS))
    file = f"mine{rng.randrange(4)}.py"
    settings = ("reward=custom", f"reward.path={file}:score")
    return _case("reward", f"file with {name}", *settings, named="path", files={file: REWARDS[name].encode()})


def reward_setting(rng: random.Random) -> Case:
    typed, named = rng.choice(REWARD_SETTINGS)
    return _case("reward", typed, *_split(typed), named=named)


def model_folder(rng: random.Random) -> Case:
    file = rng.choice(BROKEN_MODELS)
    how = rng.choice(["empty", "not JSON", "cut off", "another type", "bytes"])
    content = {
        "empty": b"",
        "not JSON": b"hello " * rng.randrange(1, 4),
        "cut off": b'{"model_type": "lla',
        "another type": json.dumps(rng.choice([5, [], "text", {"model_type": "no_such"}, {"model_type": 7}])).encode(),
        "bytes": rng.randbytes(40),
    }[how]
    return _case("model", f"{file} is {how}", *_MODEL, named=MODEL, files={f"{MODEL}/{file}": content})


def model_setting(rng: random.Random) -> Case:
    choices = (
        ("model=hub", "source"),
        ("model=hub model.source=nowhere", "nowhere"),
        ("model=hub model.source=.", "config.json"),
        (f"model=hub model.source={DATA}", DATA),
        (f"model=hub model.source={MODEL} model.dtype=int8", "dtype"),
        (f"model=hub model.source={MODEL} model.attention=none", "attention"),
        (f"model=hub model.source={MODEL} model.lora_rank=-1", "lora_rank"),
        (f"model=hub model.source={MODEL} model.lora_rank=many", "lora_rank"),
        (f"model=hub model.source={MODEL} model.chat_template=nowhere.jinja", "nowhere.jinja"),
        (f"model=hub model.source={MODEL} +model.stop_tokens=[no_such_token]", "stop"),
        (f"model=hub model.source={MODEL} +model.revision=5", "revision"),
        ("model.words=5", "words"),
        ("model.words=[5]", "words"),
        ("model.heads=3", "heads"),
        ("model.layers=many", "layers"),
    )
    typed, named = rng.choice(choices)
    return _case("model", typed, *_split(typed), named=named)


def _split(typed: str) -> list[str]:
    """Settings as a shell would hand them over: ``'a b'`` is one of them."""
    parts: list[str] = []
    for part in typed.split(" "):
        if parts and parts[-1].count("'") % 2:
            parts[-1] += f" {part}"
        else:
            parts.append(part)
    return parts


GENERATORS = [chat_template, template_setting, reward_file, reward_setting, model_folder, model_setting]
