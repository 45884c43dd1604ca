"""Folders laid out as the hub's repositories, made from the records of a data folder by undoing our field mapping."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def write_hub(folder: Path, parts: dict[tuple[str, str], list[dict]]) -> str:
    """``parts`` maps (config, split) to rows."""
    lines = ["---", "configs:"]
    for config in dict.fromkeys(config for config, _ in parts):
        lines += [f"- config_name: {config}", "  data_files:"]
        for split in [split for name, split in parts if name == config]:
            path = folder / config / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(parts[config, split]), path)
            lines += [f"  - split: {split}", f"    path: {config}/{split}-*"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
    return str(folder)


def write_plain(folder: Path, name: str, rows: list[dict]) -> str:
    """A repository without a card that holds one file, as some have it: ``.csv``, ``.jsonl`` or a JSON list."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        path.write_text(json.dumps(rows), encoding="utf-8")
    return str(folder)


def gsm8k_row(record: dict) -> dict:
    answer = f"{int(record['answer']):,}" if record["answer"].isdigit() else record["answer"]
    return {"question": record["problem"], "answer": f"{record['solution']}\n#### {answer}"}


def math_row(record: dict) -> dict:
    solution = f"First $\\boxed{{0}}$ is a guess, so it is $\\boxed{{{record['answer']}}}$."
    level = f"Level {record['difficulty'] or '?'}"
    return {"problem": record["problem"], "level": level, "type": record["subject"], "solution": solution}


def math500_row(record: dict) -> dict:
    row = {"problem": record["problem"], "answer": record["answer"], "solution": "", "level": record["difficulty"]}
    return row | {"unique_id": record["source"].removeprefix("math500/"), "subject": record["subject"].title()}


def amc_row(record: dict) -> dict:
    year, contest, number = record["source"].removeprefix("amc/").split("-")
    url = f"https://artofproblemsolving.com/wiki/index.php/{year}_AMC_{contest}_Problems/Problem_{number}"
    return {"id": 0, "problem": record["problem"], "answer": float(record["answer"]), "url": url}


def aime24_row(record: dict) -> dict:
    _, year, part, number = record["id"].split("-")
    url = f"https://artofproblemsolving.com/wiki/index.php/{year}_AIME_{part}_Problems/Problem_{int(number) or 15}"
    return {"problem": record["problem"], "answer": record["answer"].zfill(3), "url": url, "year": year}


def aime_row(record: dict) -> dict:
    _, year, part, number = record["id"].split("-")
    row = {"ID": "", "Year": int(year), "Problem Number": int(number) or 15, "Part": part}
    return row | {"Question": record["problem"], "Answer": record["answer"]}


def olympiadbench_row(record: dict) -> dict:
    row = {"id": int(record["id"].rsplit("-", 1)[1]), "question": record["problem"], "subfield": record["subject"]}
    row |= {"final_answer": [f"${record['answer']}$"], "error": record.get("tolerance"), "unit": record.get("unit")}
    return row | {key: record[key] for key in ("answer_type", "is_multiple_answer")}


def minerva_row(record: dict) -> dict:
    return {"question": record["problem"], "answer": record["answer"]}


def humaneval_row(record: dict) -> dict:
    call = f"\n\ncheck({record['entry_point']})\n"
    return {
        "task_id": record["id"],
        "prompt": record["problem"],
        "canonical_solution": record["solution"].removeprefix(record["problem"]),
        "test": record["tests"].removesuffix(call),
        "entry_point": record["entry_point"],
    }


def mbpp_row(record: dict) -> dict:
    return {
        "task_id": int(record["id"].removeprefix("mbpp-")),
        "text": record["problem"],
        "code": record["solution"].replace("\n", "\r\n"),
        "test_list": record["test_list"],
        "test_setup_code": record["test_setup"],
        "challenge_test_list": record["challenge_tests"],
    }


def codecontests_row(record: dict) -> dict:
    inputs, outputs = record["tests"]["inputs"], record["tests"]["outputs"]
    return {
        "name": "",
        "description": record["problem"],
        "public_tests": {"input": inputs[:1], "output": outputs[:1]},
        "private_tests": {"input": inputs[1:], "output": outputs[1:]},
        "generated_tests": {"input": ["not used"], "output": ["not used"]},
    }


def deepcoder_rows() -> dict[tuple[str, str], list[dict]]:
    cases = [
        {"type": "stdin_stdout", "input": "1", "output": "2"},
        {"type": "stdin_stdout", "input": "3", "output": "4"},
    ]
    call = [{"input": "[1]", "output": "2", "testtype": "functional", "metadata": {"func_name": "grow"}}]
    return {
        ("primeintellect", "train"): [
            {"problem": "Add one.", "tests": json.dumps(cases)},
            {"problem": "Nothing to test.", "tests": "[]"},
        ],
        ("taco", "train"): [{"problem": "Add one!", "tests": json.dumps({"inputs": ["1"], "outputs": ["2"]})}],
        ("lcbv5", "train"): [{"problem": "Grow.", "tests": json.dumps(call), "starter_code": "def grow(x):"}],
        ("lcbv5", "test"): [{"problem": "Grow?", "tests": json.dumps(call), "starter_code": ""}],
    }
