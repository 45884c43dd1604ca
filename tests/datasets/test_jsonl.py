import gzip
import json

import pytest

from gainrl.datasets.jsonl import jsonl


def write(path, rows):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as file:
        file.write("\n".join(json.dumps(row) for row in rows))
    return str(path)


def test_fields_go_by_the_names_given_and_the_rest_is_kept(tmp_path):
    row = {"q": "How far?", "a": 5.0, "grade": "3", "unit": "km"}
    path = write(tmp_path / "mine.jsonl.gz", [row])
    problem = jsonl(train=path, question="q", answer="a", level="grade", cache_dir=str(tmp_path)).train[0]
    assert (problem.question, problem.reference_answer, problem.level) == ("How far?", "5", 3)
    assert (problem.id, problem.source, problem.extra) == ("mine-0000000", "mine", {"unit": "km"})


def test_gzip_makes_no_difference(tmp_path):
    rows = [{"problem": f"{i}?", "answer": str(i)} for i in range(5)]
    plain, zipped = write(tmp_path / "m.jsonl", rows), write(tmp_path / "m.jsonl.gz", rows)
    sets = [jsonl(train=path, cache_dir=str(tmp_path)).train for path in (plain, zipped)]
    assert sets[0].fingerprint == sets[1].fingerprint


def test_problems_held_out_leave_the_training_pool(tmp_path):
    path = write(tmp_path / "m.jsonl", [{"problem": f"{i}?", "answer": str(i)} for i in range(10)])
    splits = jsonl(train=path, held_out_size=3, cache_dir=str(tmp_path))
    parts = [{problem.question for problem in part} for part in (splits.train, splits.held_out)]
    assert [len(part) for part in parts] == [7, 3]
    assert not parts[0] & parts[1]
    again = jsonl(train=path, held_out_size=3, split_seed=1, cache_dir=str(tmp_path))
    assert {problem.question for problem in again.held_out} != parts[1]


def test_answers_may_be_absent_by_choice_only(tmp_path):
    path = write(tmp_path / "m.jsonl", [{"problem": "Write a haiku."}])
    with pytest.raises(ValueError, match=r"dataset\.answer=null"):
        jsonl(train=path, cache_dir=str(tmp_path))
    assert jsonl(train=path, answer=None, cache_dir=str(tmp_path)).train[0].reference_answer == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "no file is given"),
        ({"train": "nowhere.jsonl"}, "nowhere.jsonl is not a file"),
        ({"train": "a", "held_out": "b", "held_out_size": 3}, "contradict"),
        ({"train": "a", "held_out": "a"}, "type dataset.held_out_size=100 in place of dataset.held_out"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        jsonl(**arguments)


def test_more_held_out_problems_than_there_are_are_refused(tmp_path):
    path = write(tmp_path / "m.jsonl", [{"problem": f"{number}?", "answer": "1"} for number in range(10)])
    with pytest.raises(ValueError, match=r"leave none to train; type dataset\.held_out_size=2"):
        jsonl(train=path, held_out_size=10, cache_dir=str(tmp_path))
