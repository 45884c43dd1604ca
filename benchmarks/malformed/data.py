"""Malformed data files: encodings, damage, other formats, lines that are no JSON, fields of another type."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import random
import zipfile
from typing import Any

from benchmarks.malformed.case import DATA, Case

BLANK = ("", "  ", "\u200b", "\ufeff\u200d", "\u2060 \u00a0", "\x00", "\u3164")
WRONG_FIELDS: dict[str, tuple[Any, ...]] = {
    "problem": (None, 5, 2.5, True, [], ["a"], {}, {"text": "a"}),
    "answer": ({}, {"value": 5}, [], [5], ["5", "6"], float("inf")),
    "level": (2.7, 0, -3, "hard", True, 2**40, [], {}, "2.5", "", float("inf"), 10**30),
    "difficulty": ("hard", "nan", True, [], {}, float("inf"), "inf", 10**400),
    "solution": (5, [], ["a", "b"], {}, True, 2.5),
    "id": ({}, {"a": 1}, [], [1]),
    "source": ({}, [], ["a"]),
}


def good_rows(rng: random.Random, count: int = 12) -> list[dict[str, Any]]:
    numbers = rng.sample(range(10, 10_000), count)
    return [{"id": f"q{n}", "problem": f"What is {n} plus 1?", "answer": str(n + 1), "level": 1} for n in numbers]


def lines(rows: list[dict[str, Any]]) -> list[str]:
    return [json.dumps(row, ensure_ascii=False).replace("Infinity", "1e999") for row in rows]


def _case(name: str, content: bytes, *settings: str, named: tuple[str, ...] = (DATA,)) -> Case:
    return Case("data", name, tuple(settings), {DATA: content}, named)


def encoded(rng: random.Random) -> Case:
    rows = good_rows(rng)
    row = rng.randrange(len(rows))
    rows[row]["problem"] += rng.choice([" Où?", " naïve", " café", " «é»"])
    encoding = rng.choice(["utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252", "utf-32"])
    return _case(f"in {encoding}", "\n".join(lines(rows)).encode(encoding))


def damaged(rng: random.Random) -> Case:
    text = "\n".join(lines(good_rows(rng, 60))).encode()
    packed = gzip.compress(text, mtime=0)
    how = rng.choice(["gzip cut off", "gzip overwritten", "text cut off", "gzip with a byte changed"])
    if how == "text cut off":
        last = text.rindex(b"\n") + 1
        return _case(how, text[: rng.randrange(last + 1, len(text) - 1)])
    if how == "gzip cut off":
        return _case(how, packed[: rng.randrange(20, len(packed) - 1)])
    place = rng.randrange(len(packed) // 2, len(packed) - 8)
    if how == "gzip overwritten":
        return _case(how, packed[:place] + bytes(len(packed) - place))
    return _case(how, packed[:place] + bytes([packed[place] ^ 0x55]) + packed[place + 1 :])


def other_format(rng: random.Random) -> Case:
    rows = good_rows(rng)
    text = "\n".join(lines(rows))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(zipfile.ZipInfo(DATA), text)
    formats = {
        "a JSON array": json.dumps(rows).encode(),
        "indented JSON": json.dumps(rows, indent=2).encode(),
        "indented objects": "\n".join(json.dumps(row, indent=1) for row in rows).encode(),
        "CSV": ("id,problem,answer\n" + "\n".join(f"{r['id']},{r['problem']},{r['answer']}" for r in rows)).encode(),
        "YAML": "\n".join(f"- problem: {r['problem']}\n  answer: {r['answer']}" for r in rows).encode(),
        "Python literals": "\n".join(map(repr, rows)).encode(),
        "zip": archive.getvalue(),
        "xz": lzma.compress(text.encode()),
        "bzip2": bz2.compress(text.encode()),
        "pickle": pickle.dumps(rows),
        "Parquet": b"PAR1" + rng.randbytes(80),
        "random bytes": b"\x80" + rng.randbytes(200),
        "nothing": b"",
        "blank lines": b" \n" * rng.randrange(1, 9),
        "packed nothing": gzip.compress(b"\n" * rng.randrange(3), mtime=0),
        "HTML": b"<!doctype html><title>404</title>",
        "a pointer of git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64,
    }
    name = rng.choice(sorted(formats))
    return _case(name, formats[name])


def broken_line(rng: random.Random) -> Case:
    rows = lines(good_rows(rng))
    row = rng.randrange(len(rows))
    line = rows[row]
    changes = {
        "a brace is missing": line[:-1],
        "a comma too many": line[:-1] + ",}",
        "single quotes": line.replace('"', "'"),
        "NaN": line[:-1] + ', "score": NaN}',
        "a field twice": line[:-1] + ', "problem": "Why?"}',
        "two objects": f"{line} {line}",
        "an array": f"[{line}]",
        "a number": str(rng.random()),
        "null": "null",
        "a text": json.dumps("What is 1 plus 1?"),
        "words": "What is 1 plus 1?",
        "half a character": line[:-1]
        + rng.choice([', "note": "\\ud83d"}', ', "note": {"a": ["\\udead"]}}', ', "\\ud800": 1}']),
        "a bare control character": line.replace("plus", "plus\x01"),
        "too deep": '{"problem": ' + "[" * 50_000,
        "a number without end": line[:-1] + ', "level": ' + "7" * 5_000 + "}",
        "a comment": "// " + line,
        "a colon is missing": line.replace(":", "", 1),
        "a quote is missing": line.replace('"', "", 1),
        "no problem": json.dumps({"question": "Why?", "answer": "1"}),
        "an empty object": "{}",
    }
    name = rng.choice(sorted(changes))
    rows[row] = changes[name]
    return _case(
        f"line {row + 1}: {name}", "\n".join(rows).encode("utf-8", "surrogatepass"), named=(f"line {row + 1} ",)
    )


def wrong_field(rng: random.Random) -> Case:
    rows = good_rows(rng)
    row = rng.randrange(len(rows))
    field = rng.choice(sorted(WRONG_FIELDS))
    value = rng.choice(WRONG_FIELDS[field])
    rows[row][field] = value
    return _case(f"{field} is {str(value)[:20]!r}", "\n".join(lines(rows)).encode(), named=(f"line {row + 1} ",))


def nothing_left(rng: random.Random) -> Case:
    rows = good_rows(rng)
    how = rng.choice(
        ["blank questions", "one id", "no answers", "solutions", "contradictions", "another field", "tests"]
    )
    settings: tuple[str, ...] = ()
    for number, row in enumerate(rows):
        if how == "blank questions":
            row["problem"] = rng.choice(BLANK)
        elif how == "one id":
            row["id"] = "same"
        elif how == "no answers":
            del row["answer"]
        elif how == "solutions":
            row["answer"] = f"We add one to the number that is given.\nSo that we get the result, which is {number}."
        elif how == "contradictions":
            row["problem"] = "How many?"
        elif how == "another field":
            row["question"] = row.pop("problem")
        else:
            row |= {"answer": "", "tests": rng.choice([{"inputs": []}, "x = 1", {"inputs": ["1"], "outputs": []}, []])}
    if how == "tests":
        settings = ("reward=code", "reward.isolation=unsafe", "reward.workers=1", "template=question_only")
    return _case(how, "\n".join(lines(rows)).encode(), *settings, named=("mine",))


def settings_of_data(rng: random.Random) -> Case:
    choices = (
        ("dataset.train=nowhere.jsonl", "nowhere.jsonl"),
        ("dataset.train=.", "is not a file"),
        ("dataset.train=null", "no file is given"),
        ("dataset.question=nothing", "dataset.question"),
        ("dataset.answer=nothing", "dataset.answer"),
        ("dataset.level=problem", "dataset.level"),
        ("dataset.difficulty=problem", "dataset.difficulty"),
        ("dataset.held_out_size=12", "held_out_size"),
        ("dataset.held_out_size=-1", "held_out_size"),
        ("dataset.held_out=nowhere.jsonl", "nowhere.jsonl"),
        (f"dataset.held_out={DATA}", "mine"),
        ("schedule.prompts_per_step=13", "prompts_per_step"),
        ("dataset=gsm8k data_dir=.", "gsm8k"),
        ("dataset=math data_dir=nowhere", "math"),
        ("dataset=mbpp data_dir=.", "mbpp"),
        ("dataset=reasoning_gym dataset.tasks=null", "tasks"),
        ("dataset=arithmetic dataset.terms=[]", "terms"),
        ("dataset=arithmetic dataset.terms=[3,2]", "terms"),
        ("dataset=small_programs dataset.steps=[0]", "steps"),
        ("dataset=deepcoder data_dir=.", "data_dir"),
    )
    typed, named = rng.choice(choices)
    settings = tuple(typed.split(" "))
    content = "\n".join(lines(good_rows(rng))).encode()
    return _case(typed, content, *settings, named=(named,))


GENERATORS = [encoded, damaged, other_format, broken_line, wrong_field, broken_line, wrong_field, nothing_left]
GENERATORS += [settings_of_data]
