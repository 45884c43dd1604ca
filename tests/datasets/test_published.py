import gzip
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from gainrl.datasets import codecontests, deepcoder, humaneval, math, mbpp, minerva, olympiadbench
from gainrl.datasets.aime import aime
from gainrl.datasets.amc import amc
from gainrl.datasets.deepscaler import deepscaler
from gainrl.datasets.gsm8k import gsm8k
from gainrl.datasets.json_lines import numbered_lines
from tests.datasets import hub_layout
from tests.datasets.hub_layout import write_hub, write_plain
from tests.published_data import DATA, needs_data

# All that may differ between a hub and a data folder, by data set: docs/bring_your_own.md has the same list.
DIFFERENT = {"math": {"solution"}, "aime_train": {"difficulty"}}


def records(name):
    return [record for _, record in numbered_lines(Path(DATA) / f"{name}.jsonl.gz")]


def same(left, right, *, but=frozenset()):
    """Whole problems are equal in all fields but the named ones, and those do differ."""
    assert len(left) == len(right)
    differing = set()
    for a, b in zip(left, right, strict=True):
        a, b = asdict(a), asdict(b)
        differing |= {field for field in a if a[field] != b[field]}
    assert differing == but


@needs_data
def test_gsm8k_is_the_same_from_hub_and_folder(tmp_path):
    parts = {("main", s): [hub_layout.gsm8k_row(r) for r in records(f"gsm8k_{s}")] for s in ("train", "test")}
    from_hub = gsm8k(hub=write_hub(tmp_path / "hub", parts), cache_dir=str(tmp_path))
    from_folder = gsm8k(data_dir=DATA, cache_dir=str(tmp_path))
    assert (len(from_folder.train), len(from_folder.held_out)) == (7473, 1319)
    assert from_hub.train.fingerprint == from_folder.train.fingerprint
    assert from_hub.held_out.fingerprint == from_folder.held_out.fingerprint


@needs_data
def test_math_is_the_same_from_hub_and_folder(tmp_path):
    train = write_hub(tmp_path / "a", {("default", "train"): [hub_layout.math_row(r) for r in records("math_train")]})
    test = write_plain(tmp_path / "b", "test.jsonl", [hub_layout.math500_row(r) for r in records("math500_test")])
    from_hub = math.math(train_hub=train, hub=test, cache_dir=str(tmp_path))
    from_folder = math.math(data_dir=DATA, cache_dir=str(tmp_path))
    same(from_hub.train, from_folder.train, but=DIFFERENT["math"])
    same(from_hub.held_out, from_folder.held_out, but=DIFFERENT["math"])
    assert set(from_folder.train.column("level")) == {-1, 1, 2, 3, 4, 5}


@needs_data
@pytest.mark.parametrize(
    ("load", "file", "config", "split", "row"),
    [
        (amc, "amc_test", "default", "train", hub_layout.amc_row),
        (aime, "aime24_test", "default", "train", hub_layout.aime24_row),
        (
            olympiadbench.olympiadbench,
            "olympiadbench_test",
            "OE_TO_maths_en_COMP",
            "train",
            hub_layout.olympiadbench_row,
        ),
        (minerva.minerva, "minerva_math_test", "default", "test", hub_layout.minerva_row),
        (humaneval.humaneval, "humaneval_test", "openai_humaneval", "test", hub_layout.humaneval_row),
        (mbpp.mbpp, "mbpp_test", "full", "test", hub_layout.mbpp_row),
        (codecontests.codecontests, "codecontests_test", "default", "test", hub_layout.codecontests_row),
    ],
)
def test_evaluation_sets_are_the_same_from_hub_and_folder(tmp_path, load, file, config, split, row):
    hub = write_hub(tmp_path / "hub", {(config, split): [row(r) for r in records(file)]})
    from_hub = load(hub=hub, cache_dir=str(tmp_path), held_out_only=True)
    from_folder = load(data_dir=DATA, cache_dir=str(tmp_path), held_out_only=True)
    assert from_hub.train is None
    same(from_hub.held_out, from_folder.held_out)
    assert from_hub.held_out.fingerprint == from_folder.held_out.fingerprint


@needs_data
def test_aime_training_rows_of_both_collections_have_the_same_form(tmp_path):
    rows = [hub_layout.aime_row(r) for r in records("aime_train")[:50]]
    newer = rows[0] | {"Year": 2024}
    train = write_plain(tmp_path / "a", "AIME_Dataset_1983_2024.csv", [*rows, newer])
    test = write_hub(tmp_path / "b", {("default", "train"): [hub_layout.aime24_row(r) for r in records("aime24_test")]})
    from_hub = aime(train_hub=train, hub=test, cache_dir=str(tmp_path)).train
    from_folder = aime(data_dir=DATA, cache_dir=str(tmp_path)).train
    same(from_hub, from_folder.select(range(50)), but=DIFFERENT["aime_train"])


@needs_data
def test_minerva_has_ids_of_its_own_and_one_answer_a_problem(tmp_path):
    problems = list(minerva.minerva(data_dir=DATA, cache_dir=str(tmp_path)).held_out)
    assert len({problem.id for problem in problems}) == len(problems) == 272
    assert not any(problem.extra for problem in problems)


@pytest.mark.parametrize("empty", ["", None])
def test_rows_of_deepscaler_without_an_answer_are_left_out_and_counted(tmp_path, empty):
    rows = [{"problem": problem, "answer": answer} for problem, answer in (("2?", "2"), ("?", empty), ("1?", "1"))]
    hub = write_plain(tmp_path / "a", "deepscaler.json", rows)
    row = {"problem": "Two?", "answer": "2", "solution": "", "level": 1, "unique_id": "test/algebra/1.json"}
    test = write_hub(tmp_path / "b", {("default", "test"): [row]})
    train = deepscaler(hub=hub, held_out_hub=test, cache_dir=str(tmp_path)).train
    assert [problem.id for problem in train] == ["deepscaler-r00000", "deepscaler-r00002"]


def test_repeated_rows_of_deepscaler_become_one_problem_that_knows_its_rows(tmp_path):
    rows = [("Half of 4?", "2"), ("One?", "1"), ("Half of 4?", "2"), ("One?", "7"), ("One?", "7")]
    rows = [{"problem": question, "answer": answer, "solution": ""} for question, answer in rows]
    hub = write_plain(tmp_path / "a", "deepscaler.json", rows)
    row = {"problem": "Two?", "answer": "2", "solution": "", "level": 1, "unique_id": "test/algebra/1.json"}
    test = write_hub(tmp_path / "b", {("default", "test"): [row]})
    half, one = deepscaler(hub=hub, held_out_hub=test, cache_dir=str(tmp_path)).train
    assert (half.id, half.reference_answer, half.extra) == ("deepscaler-r00000", "2", {"rows": [0, 2]})
    assert (one.id, one.reference_answer, one.extra) == (
        "deepscaler-r00001",
        "1",
        {"rows": [1, 3, 4], "alt_answers": ["7"]},
    )


@needs_data
def test_every_file_of_the_data_folder_loads_with_its_published_number_of_rows(tmp_path):
    options = {"data_dir": DATA, "cache_dir": str(tmp_path), "held_out_only": False}
    sets = [amc(**options), aime(**options), deepscaler(**options), mbpp.mbpp(**options)]
    sizes = [(len(splits.train), len(splits.held_out)) for splits in sets]
    assert sizes == [(2867, 83), (975, 30), (35107, 500), (374, 500)]


@needs_data
def test_mbpp_shows_its_assertions_because_the_task_does_not_name_the_function(tmp_path):
    for problem in mbpp.mbpp(data_dir=DATA, cache_dir=str(tmp_path)).train:
        assert all(test in problem.question for test in problem.extra["test_list"])
        assert problem.extra["entry_point"] in problem.question


def test_deepcoder_brings_the_tests_of_all_its_parts_into_one_form(tmp_path):
    hub = write_hub(tmp_path / "hub", hub_layout.deepcoder_rows())
    splits = deepcoder.deepcoder(hub=hub, cache_dir=str(tmp_path))
    assert [p.extra for p in splits.train] == [
        {"tests": {"inputs": ["1", "3"], "outputs": ["2", "4"]}},
        {"tests": {"inputs": ["1"], "outputs": ["2"]}},
        {"tests": {"inputs": ["[1]"], "outputs": ["2"]}, "entry_point": "grow"},
    ]
    assert splits.train[2].question.endswith("```python\ndef grow(x):\n```")
    assert [p.id for p in splits.held_out] == ["deepcoder-lcbv5-test-00000"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"\boxed{1} or rather \boxed{2}", "2"),
        (r"\boxed{3} then \boxed{4", "3"),
        (r"\fbox{5}", "5"),
        (r"so $\boxed 6$.", "6"),
        ("no box", ""),
    ],
)
def test_the_answer_of_a_solution_is_its_last_complete_box(text, answer):
    assert math.last_boxed(text) == answer


def test_a_missing_file_is_named_with_the_way_out(tmp_path):
    with pytest.raises(ValueError, match=r"holds no gsm8k_train.jsonl.gz.*data_dir=null"):
        gsm8k(data_dir=str(tmp_path))


def test_deepcoder_refuses_a_folder_that_it_would_not_read():
    with pytest.raises(ValueError, match=r"data_dir=somewhere.*hub only.*dataset.data_dir=null"):
        deepcoder.deepcoder(data_dir="somewhere")


def test_a_hub_out_of_reach_says_what_to_download(tmp_path):
    with pytest.raises(ValueError, match=r"hf download nobody/gsm8k --repo-type dataset"):
        gsm8k(hub="nobody/gsm8k", cache_dir=str(tmp_path))


def test_what_no_hub_has_asks_for_a_folder():
    with pytest.raises(ValueError, match=r"data_dir=<folder that holds amc_train"):
        amc()


def test_a_second_load_reads_the_file_that_the_first_one_wrote(tmp_path):
    line = {"id": "a", "problem": "1+1?", "answer": "2", "difficulty": None, "source": "s"}
    for name in ("gsm8k_train", "gsm8k_test"):
        with gzip.open(tmp_path / f"{name}.jsonl.gz", "wt") as file:
            file.write(json.dumps(line) + "\n")
    cache = tmp_path / "cache"
    first = gsm8k(data_dir=str(tmp_path), cache_dir=str(cache)).train
    stamps = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    second = gsm8k(data_dir=str(tmp_path), cache_dir=str(cache)).train
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == stamps
    assert first.fingerprint == second.fingerprint
    assert second[0].question == "1+1?"
