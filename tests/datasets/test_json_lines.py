"""Every fault of a file names the file, the line, the field where there is one, and what to do."""

import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gainrl.datasets.arrow import ArrowProblems
from gainrl.datasets.gsm8k import gsm8k
from gainrl.datasets.json_lines import numbered_lines
from gainrl.datasets.jsonl import jsonl
from gainrl.types import Problem

ROW = {"problem": "Where is the café?", "answer": "5"}
GOOD = json.dumps(ROW, ensure_ascii=False) + "\n"
ROWS = [{"problem": f"{number}?", "answer": str(number)} for number in range(400)]
LONG = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def written(tmp_path, content, name="mine.jsonl"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (GOOD.encode("utf-8-sig"), "mine.jsonl"),  # a byte order mark
        (GOOD.replace("\n", "\r\n").encode(), "mine.jsonl"),
        (("\n\n" + GOOD + "  \n").encode(), "mine.jsonl"),
        (gzip.compress(GOOD.encode(), mtime=0), "mine.jsonl"),  # packed, and called as if it were not
        (gzip.compress(GOOD.encode("utf-8-sig"), mtime=0), "mine.jsonl.gz"),
        (GOOD.encode(), "mine.jsonl.gz"),  # not packed, and called as if it were
        (json.dumps(ROW, ensure_ascii=True).encode(), "mine.jsonl"),  # no line break at the end
    ],
)
def test_what_is_harmless_is_read(tmp_path, content, name):
    assert [row for _, row in numbered_lines(written(tmp_path, content, name))] == [ROW]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD.encode("utf-16"), r"mine.jsonl is in UTF-16, not UTF-8: convert it with iconv -f UTF-16 -t UTF-8"),
        (GOOD.encode("utf-16-le"), "is in UTF-16LE"),
        (GOOD.encode("utf-16-be"), "is in UTF-16BE"),
        (GOOD.encode() + GOOD.encode("latin-1"), r"line 2 of .*: byte 30 of field .problem. .*not UTF-8.* LATIN1"),
        (gzip.compress(LONG, mtime=0)[:-400], r"mine.jsonl is damaged after line \d+ .*fetch it again"),
        (gzip.compress(LONG, mtime=0)[:200] + b"\0" * 300, r"mine.jsonl is damaged after line 0 .*fetch it again"),
        (LONG[:-9], r"line 400 of .*: not JSON: .*ends in the middle of this line.*fetch it again"),
        (b"PK\x03\x04rest", "is a zip archive: unpack it"),
        (b"PAR1rest", "is a Parquet file: write it as JSON Lines"),
        (b"", "mine.jsonl is empty: give a file with one problem a line"),
        (b" \n\n", "mine.jsonl is empty"),
        (gzip.compress(b"", mtime=0), "mine.jsonl is empty"),
        (b'[\n{"problem": "1?"}\n]', r"line 1 of .*: not JSON: .*give one object a line, without breaks inside"),
        (b'[{"problem": "1?"}]', r"line 1 of .*: not a JSON object .*jq -c '\.\[\]'"),
        (b'{"problem": "1?"} {"problem": "2?"}\n', "line 1 of .*: not JSON: Extra data at character 19; give one"),
        (b"problem,answer\n1?,1\n", "line 1 of .*: not JSON: Expecting value at character 1"),
        (b'{"problem": "1?", "answer": NaN}\n', "line 1 of .*: NaN is not a JSON value; use null"),
        (b'{"problem": "1?", "problem": "2?"}\n', "line 1 of .*: field 'problem' is given twice"),
        (b'{"problem": "1 \\ud83d", "answer": "1"}\n', r"line 1 of .*: field 'problem' holds \\ud83d, one half of"),
        (b'{"problem": "1?", "tests": {"a": ["\\udc00"]}}\n', r"field 'tests' holds \\udc00"),
        (b'{"\\ud800": 1}\n', r"field '\\\\ud800' holds \\ud800"),
        (b'{"problem": ' + b"[" * 100_000 + b"\n", "nested too deeply|not JSON"),
        (b'{"problem": "1?", "answer": ' + b"9" * 5000 + b"}\n", "line 1 of .*: Exceeds the limit"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_named_with_the_line_and_what_to_do(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        list(numbered_lines(written(tmp_path, content)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"solution": ["a", "b"]}, "field 'solution' is a list .*join it into one text"),
        ({"solution": 5}, "field 'solution' is a int"),
        ({"answer": {"value": 5}}, r"field 'answer' is an object \({'value': 5}\); .*dataset\.answer=<field>"),
        ({"answer": [5]}, "field 'answer' is a list"),
        ({"answer": 1e999}, "field 'answer' is inf, which is not a finite number"),
        ({"level": 2.7}, r"field 'level' is 2\.7, which is not a level: give whole numbers .*dataset\.level=<field>"),
        ({"level": 0}, "field 'level' is 0, which is not a level"),
        ({"level": -3}, "field 'level' is -3, which is not a level"),
        ({"level": "hard"}, "field 'level' is 'hard', which is not a level"),
        ({"level": True}, "field 'level' is True, which is not a level"),
        ({"level": 2**40}, "field 'level' is 1099511627776, which is not a level"),
        ({"difficulty": "hard"}, "field 'difficulty' is 'hard', which is not a number"),
        ({"difficulty": "nan"}, "field 'difficulty' is 'nan', which is not a number"),
        ({"difficulty": False}, "field 'difficulty' is False, which is not a number"),
        ({"difficulty": 10**400}, "field 'difficulty' is 1000"),
        ({"id": {"a": 1}}, "field 'id' is an object"),
        ({"source": ["a"]}, "field 'source' is a list"),
        ({"problem": None}, "no text under 'problem'; its fields are 'problem', 'answer': .*dataset.question"),
        ({"problem": ["1?"]}, "no text under 'problem'"),
    ],
)  # fmt: skip
def test_a_field_of_another_type_is_named_with_its_line(tmp_path, fields, message):
    text = json.dumps(ROW) + "\n" + json.dumps(ROW | fields).replace("Infinity", "1e999") + "\n"
    path = written(tmp_path, text.encode())
    with pytest.raises(ValueError, match=rf"^line 2 of .*mine\.jsonl: {message}"):
        jsonl(train=str(path), cache_dir=str(tmp_path / "cache"))
    assert not list((tmp_path / "cache").glob("*"))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"level": 3.0}, {"level": 3}),
        ({"level": "3"}, {"level": 3}),
        ({"difficulty": "0.5"}, {"difficulty": 0.5}),
        ({"answer": 7}, {"reference_answer": "7"}),
        ({"answer": True}, {"reference_answer": "True"}),
        ({"id": 7}, {"id": "7"}),
        ({"id": ""}, {"id": "mine-0000000"}),
    ],
)
def test_values_that_mean_what_is_wanted_are_taken(tmp_path, fields, expected):
    path = written(tmp_path, json.dumps(ROW | fields).encode())
    problem = jsonl(train=str(path), cache_dir=str(tmp_path)).train[0]
    assert {name: getattr(problem, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"id": "a", "answer": "5", "source": "s"}, "line 1 of .*gsm8k_test.jsonl: no text under 'problem'"),
        ({"id": "a", "problem": "1?", "answer": "5"}, "line 1 of .*: no text under 'source'"),
        ({"problem": "1?", "answer": "5", "source": "s"}, "line 1 of .*: a field is missing.*KeyError: 'id'"),
        ({"id": "a", "problem": "1?", "answer": [5], "source": "s"}, "line 1 of .*: field 'answer' is a list"),
    ],
)
def test_a_folder_of_published_files_is_checked_in_the_same_way(tmp_path, record, message):
    written(tmp_path, json.dumps(record).encode(), "gsm8k_test.jsonl")
    with pytest.raises(ValueError, match=message):
        gsm8k(data_dir=str(tmp_path), cache_dir=str(tmp_path / "cache"), held_out_only=True)


def test_problems_made_in_python_are_checked_when_they_are_stored():
    for problem in (
        Problem("a", "half \ud800", "1"),
        Problem("a", "?", 5),
        Problem("a", "?", "5", level="high"),
        Problem("a", "?", "5", extra={"set": {1, 2}}),
    ):
        with pytest.raises(
            ValueError, match=r"problem 'a' cannot be stored: its (question|reference_answer|level|extra)"
        ):
            ArrowProblems.from_problems([Problem("b", "?", "5"), problem], name="mine")


def refusal(read):
    """The message for a file that cannot be read; None for one that can."""
    try:
        read()
    except ValueError as fault:
        return str(fault)
    return None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["problem", "answer", "level", "difficulty", "solution", "id", "source", "tests"])


@given(st.lists(st.dictionaries(NAMES, JSON, max_size=6), max_size=3), st.binary(max_size=4))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_rows_are_read_or_refused_with_a_message_that_names_the_file(tmp_path, rows, junk):
    content = "\n".join(json.dumps(row) for row in rows).encode() + junk
    path = written(tmp_path, content)
    message = refusal(lambda: jsonl(train=str(path), answer=None, cache_dir=str(tmp_path / "cache")))
    assert message is None or "mine.jsonl" in message


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused_with_a_message_that_names_the_file(tmp_path, content):
    path = written(tmp_path, content)
    message = refusal(lambda: list(numbered_lines(path)))
    assert message is None or "mine.jsonl" in message
