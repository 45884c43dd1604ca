"""Every loader on a folder with the card, the features and the columns of its repository on the hub."""

from __future__ import annotations

import inspect
import json
import re

import pytest
from datasets import Dataset, Features, Value
from datasets import List as Of
from omegaconf import OmegaConf

from gainrl.datasets import (
    aime,
    amc,
    codecontests,
    deepcoder,
    deepscaler,
    gsm8k,
    humaneval,
    math,
    mbpp,
    minerva,
    olympiadbench,
)
from gainrl.datasets.published import hub_rows, origin_of
from tests.composition import CONF
from tests.datasets.hub_layout import write_plain

TEXT, WHOLE, REAL, FLAG = Value("string"), Value("int64"), Value("float64"), Value("bool")
TESTS = {"input": Of(TEXT), "output": Of(TEXT)}
URL = "https://artofproblemsolving.com/wiki/index.php/"


def repository(folder, parts):
    """``parts``: (config, split) to features and rows; the card declares both, as the hub's cards do."""
    infos, configs = [], []
    for (config, split), (features, rows) in parts.items():
        kinds = Features(features)
        path = folder / config / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        Dataset.from_list(rows, features=kinds).to_parquet(path)
        size = {"name": split, "num_bytes": path.stat().st_size, "num_examples": len(rows)}
        infos.append({"config_name": config, "features": kinds._to_yaml_list(), "splits": [size]})
        configs.append({"config_name": config, "data_files": [{"split": split, "path": f"{config}/{split}-*"}]})
    merged = {}
    for info, config in zip(infos, configs, strict=True):
        known = merged.setdefault(info["config_name"], (info, config))
        if known[0] is not info:
            known[0]["splits"] += info["splits"]
            known[1]["data_files"] += config["data_files"]
    card = {"dataset_info": [info for info, _ in merged.values()], "configs": [config for _, config in merged.values()]}
    (folder / "README.md").write_text(f"---\n{OmegaConf.to_yaml(OmegaConf.create(card))}---\n")
    return str(folder)


def shown(problem):
    return problem.question, problem.reference_answer, problem.level


def test_gsm8k(tmp_path):
    part = ({"question": TEXT, "answer": TEXT}, [{"question": "1 + 1?", "answer": "It is <<1+1=2>>2.\n#### 1,002"}])
    hub = repository(tmp_path / "hub", {("main", "train"): part, ("main", "test"): part})
    splits = gsm8k.gsm8k(hub=hub, cache_dir=str(tmp_path))
    assert shown(splits.train[0]) == shown(splits.held_out[0]) == ("1 + 1?", "1002", None)


MATH_500 = (
    {"problem": TEXT, "solution": TEXT, "answer": TEXT, "subject": TEXT, "level": WHOLE, "unique_id": TEXT},
    [
        {
            "problem": "Half of 4?",
            "solution": "2",
            "answer": "2",
            "subject": "Algebra",
            "level": 3,
            "unique_id": "test/algebra/7.json",
        }
    ],
)


def test_math(tmp_path):
    row = {"problem": "2?", "level": "Level 5", "solution": r"So $\boxed{2}$.", "type": "Algebra"}
    train = repository(tmp_path / "a", {("default", "train"): (dict.fromkeys(row, TEXT), [row])})
    test = repository(tmp_path / "b", {("default", "test"): MATH_500})
    splits = math.math(train_hub=train, hub=test, cache_dir=str(tmp_path))
    assert shown(splits.train[0]) == ("2?", "2", 5)
    assert shown(splits.held_out[0]) == ("Half of 4?", "2", 3)


def test_amc(tmp_path):
    row = {"id": 0, "problem": "How many?", "answer": 142.0, "url": f"{URL}2022_AMC_12A_Problems/Problem_1"}
    kinds = {"id": WHOLE, "problem": TEXT, "answer": REAL, "url": TEXT}
    hub = repository(tmp_path / "hub", {("default", "train"): (kinds, [row])})
    (problem,) = amc.amc(hub=hub, cache_dir=str(tmp_path), held_out_only=True).held_out
    assert (problem.reference_answer, problem.source) == ("142", "amc/2022-12A-1")


def test_aime(tmp_path):
    row = {
        "problem": "P?",
        "solution": "",
        "answer": "033",
        "url": f"{URL}2024_AIME_I_Problems/Problem_3",
        "year": "2024",
    }
    test = repository(
        tmp_path / "b", {("default", "train"): ({"id": WHOLE} | dict.fromkeys(row, TEXT), [{"id": 60, **row}])}
    )
    old = {"ID": "1983-1", "Year": 1983, "Problem Number": 1, "Question": "Q?", "Answer": "60", "Part": ""}
    train = write_plain(tmp_path / "a", "AIME_Dataset_1983_2024.csv", [old])
    splits = aime.aime(train_hub=train, hub=test, cache_dir=str(tmp_path))
    assert [(p.id, p.reference_answer) for p in splits.held_out] == [("aime-2024-I-03", "33")]
    assert [(p.id, p.reference_answer) for p in splits.train] == [("aime-1983-I-01", "60")]


def test_deepscaler(tmp_path):
    rows = [{"problem": "1?", "answer": "1", "solution": ""}, {"problem": "2?", "answer": "2", "solution": "so"}]
    rows.append({"problem": "3?", "answer": "", "solution": "no answer, as in six rows of the hub"})
    hub = write_plain(tmp_path / "a", "deepscaler.json", rows)
    test = repository(tmp_path / "b", {("default", "test"): MATH_500})
    splits = deepscaler.deepscaler(hub=hub, held_out_hub=test, cache_dir=str(tmp_path))
    assert [p.reference_answer for p in splits.train] == ["1", "2"]
    assert len(splits.held_out) == 1


def test_olympiadbench(tmp_path):
    texts = (
        "question",
        "context",
        "modality",
        "difficulty",
        "unit",
        "answer_type",
        "error",
        "question_type",
        "subfield",
    )
    kinds = {"id": WHOLE, "is_multiple_answer": FLAG, "solution": Of(TEXT), "final_answer": Of(TEXT), "subject": TEXT}
    kinds |= dict.fromkeys((*texts, "question_type", "subfield", "language"), TEXT)
    row = dict.fromkeys(kinds) | {"id": 1606, "question": "How many?", "solution": ["..."], "final_answer": ["$3$"]}
    row |= {"is_multiple_answer": False, "answer_type": "Numerical", "subfield": "Algebra", "subject": "Math"}
    hub = repository(tmp_path / "hub", {("OE_TO_maths_en_COMP", "train"): (kinds, [row])})
    (problem,) = olympiadbench.olympiadbench(hub=hub, cache_dir=str(tmp_path)).held_out
    assert (problem.question, problem.reference_answer) == ("How many?", "3")


def test_minerva(tmp_path):
    hub = write_plain(tmp_path / "hub", "test.jsonl", [{"question": "How far?", "answer": "4.5e33"}])
    (problem,) = minerva.minerva(hub=hub, cache_dir=str(tmp_path)).held_out
    assert shown(problem) == ("How far?", "4.5e33", None)


def test_humaneval(tmp_path):
    row = {
        "task_id": "HumanEval/0",
        "prompt": "def one():\n",
        "canonical_solution": "    return 1\n",
        "test": "def check(candidate):\n    assert candidate() == 1\n",
        "entry_point": "one",
    }
    hub = repository(tmp_path / "hub", {("openai_humaneval", "test"): (dict.fromkeys(row, TEXT), [row])})
    (problem,) = humaneval.humaneval(hub=hub, cache_dir=str(tmp_path)).held_out
    assert problem.extra["tests"].endswith("check(one)\n")


def test_mbpp(tmp_path):
    row = {
        "task_id": 601,
        "text": "Write one.",
        "code": "def one():\r\n  return 1",
        "test_list": ["assert one() == 1"],
        "test_setup_code": "",
        "challenge_test_list": [],
    }
    kinds = dict.fromkeys(row, TEXT) | {
        "task_id": Value("int32"),
        "test_list": Of(TEXT),
        "challenge_test_list": Of(TEXT),
    }
    hub = repository(tmp_path / "hub", {("full", split): (kinds, [row]) for split in ("train", "test")})
    splits = mbpp.mbpp(hub=hub, cache_dir=str(tmp_path))
    assert splits.train[0].extra["entry_point"] == splits.held_out[0].extra["entry_point"] == "one"


def test_codecontests(tmp_path):
    kinds = {"name": TEXT, "description": TEXT, "source": WHOLE, "difficulty": WHOLE}
    kinds |= dict.fromkeys(("public_tests", "private_tests", "generated_tests"), TESTS)
    row = {"name": "a", "description": "Echo.", "source": 2, "difficulty": 7}
    row |= {"public_tests": {"input": ["1"], "output": ["1"]}, "private_tests": {"input": ["2"], "output": ["2"]}}
    row |= {"generated_tests": {"input": ["3"], "output": ["3"]}}
    hub = repository(tmp_path / "hub", {("default", "test"): (kinds, [row])})
    (problem,) = codecontests.codecontests(hub=hub, cache_dir=str(tmp_path)).held_out
    assert problem.extra["tests"] == {"inputs": ["1", "2"], "outputs": ["1", "2"]}


def test_deepcoder(tmp_path):
    call = json.dumps([{"input": "[1]", "output": "2", "testtype": "functional", "metadata": {"func_name": "grow"}}])
    row = {"problem": "Grow.", "starter_code": "def grow(x):", "tests": call, "metadata": "{}"}
    part = (dict.fromkeys(row, TEXT), [row])
    hub = repository(tmp_path / "hub", {("lcbv5", "train"): part, ("lcbv5", "test"): part})
    splits = deepcoder.deepcoder(hub=hub, train_parts=["lcbv5"], cache_dir=str(tmp_path))
    assert splits.train[0].extra["entry_point"] == "grow"


SETS = [path.stem for path in sorted((CONF / "dataset").glob("*.yaml")) if "\nhub:" in path.read_text()]


@pytest.mark.parametrize("name", SETS)
def test_every_set_of_the_hub_names_the_revisions_of_its_repositories(name):
    """Those of the constructor are those of the file."""
    node = OmegaConf.load(CONF / "dataset" / f"{name}.yaml")
    module, _, function = node["_target_"].rpartition(".")
    parameters = inspect.signature(getattr(__import__(module, fromlist=["x"]), function)).parameters
    hubs = [key for key in node if key.endswith("hub")]
    revisions = [key.removesuffix("hub") + "revision" for key in hubs]
    for key in revisions:
        assert node[key] == parameters[key].default
        assert re.fullmatch(r"[0-9a-f]{40}", node[key])


def test_a_set_that_follows_a_branch_says_so_once_and_one_that_names_a_commit_does_not(monkeypatch, recwarn):
    rows = Dataset.from_list([{"question": "How far?", "answer": "4"}])
    rows.info.download_checksums = {f"hf://datasets/some/problems@{'e' * 40}/test.jsonl": {}}
    monkeypatch.setattr("gainrl.datasets.published.load_dataset", lambda *given, **named: rows)
    for revision in ("main", None, "main", "e" * 40):
        hub_rows(("some/problems", revision), None, "test", None)
    (warning,) = recwarn
    assert "some/problems is read at 'main', which may hold other rows tomorrow" in str(warning.message)
    assert str(warning.message).endswith(f"such as today's {'e' * 40}")


def test_every_model_of_the_hub_names_its_commit():
    for path in sorted((CONF / "model").glob("*.yaml")):
        node = OmegaConf.load(path)
        if "/" in str(node.get("source", "")) and not str(node.source).startswith("pypi:"):
            assert re.fullmatch(r"[0-9a-f]{40}", str(node.get("revision"))), path.name


def test_the_commit_of_a_set_is_read_off_the_files_that_it_came_from(tmp_path):
    commit = "e53f048856ff4f594e959d75785d2c2d37b678ee"
    rows = Dataset.from_list([{"a": 1}])
    rows.info.download_checksums = {f"hf://datasets/openai/gsm8k@{commit}/main/train.parquet": {}}
    assert origin_of(("openai/gsm8k", "main"), rows) == f"openai/gsm8k@{commit}"
    rows.info.download_checksums = None
    assert origin_of(("openai/gsm8k", "v1"), rows) == "openai/gsm8k@v1"
    assert origin_of((str(tmp_path), None), rows) is None
