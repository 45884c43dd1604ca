import csv
import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from gainrl.training.callbacks import Evaluation, Records
from gainrl.training.callbacks.records import MetricsTable, RecordsFailed
from tests.training import resumable
from tests.training.rig import data_of, fit, module_of


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_column_that_appears_later_is_empty_before(tmp_path):
    table = MetricsTable(tmp_path / "metrics.csv")
    table.append({"step": 0.0, "a": 0.5})
    table.append({"step": 1.0, "b": 2.0})
    table.append({"step": 2.0, "a": math.nan, "b": 1e-9})
    assert read(table.path) == [
        {"step": "0", "a": "0.5", "b": ""},
        {"step": "1", "a": "", "b": "2"},
        {"step": "2", "a": "nan", "b": "1e-09"},
    ]


def test_rows_after_the_step_of_a_checkpoint_are_dropped_and_written_again(tmp_path):
    path = tmp_path / "metrics.csv"
    first = MetricsTable(path)
    for step in range(4):
        first.append({"step": float(step), "old": 1.0})
    again = MetricsTable(path)
    again.keep_until(1)
    again.append({"step": 2.0, "old": 2.0, "new": 3.0})
    assert [(row["step"], row["old"], row["new"]) for row in read(path)] == [
        ("0", "1", ""),
        ("1", "1", ""),
        ("2", "2", "3"),
    ]


def test_numbers_are_written_so_that_they_read_back_exactly(tmp_path):
    table = MetricsTable(tmp_path / "metrics.csv")
    values = [0.1 + 0.2, 1 / 3, 1e300, -7.0]
    table.append({"step": 0.0, **{str(i): value for i, value in enumerate(values)}})
    assert [float(read(table.path)[0][str(i)]) for i in range(4)] == values


def run(folder, *, steps=3, **settings):
    module = module_of()
    data = data_of(module, steps=steps)
    evaluation = Evaluation(every=2, samples=0, max_new_tokens=2)
    fit(module, data, [evaluation, Records(folder=folder, **settings)])
    return module, data


def test_every_step_has_one_row_and_every_completion_one_line(tmp_path):
    module, data = run(tmp_path)
    rows = read(tmp_path / "metrics.csv")
    assert [row["step"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["epoch"] for row in rows] == ["0", "0", "1", "1"]
    assert [row["prompts_seen"] for row in rows] == ["0", "4", "8", "12"]
    assert [bool(row["eval/accuracy"]) for row in rows] == [True, False, True, True]
    assert [bool(row["reward"]) for row in rows] == [False, True, True, True]
    assert "curriculum/pass" in rows[0]

    lines = [json.loads(line) for line in (tmp_path / "rollouts.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1] * 16 + [2] * 16 + [3] * 16
    last, group = lines[-1], module.experience.groups[-1]
    problem = data.problems[group.row]
    assert last == {
        "step": 3,
        "row": group.row,
        "id": problem.id,
        "source": problem.source,
        "level": problem.level,
        "prompt": f"<system>Add.<end><user>1+1<end><assistant>2<end><user>{problem.question}<end><assistant>",
        "completion": module.experience.texts[-1],
        "reference_answer": problem.reference_answer,
        "verdict": "correct" if group.correct[-1] else "wrong",
        "reward": group.rewards[-1],
        "advantage": float(module.advantages_B[-1]),
        "tokens": int(group.lengths[-1]),
        "truncated": bool(group.truncated[-1]),
    }
    tokens = sum(line["tokens"] for line in lines)
    assert rows[-1]["generated_tokens"] == str(tokens)


def test_every_evaluation_has_a_verdict_per_held_out_problem(tmp_path):
    _, data = run(tmp_path)
    run(tmp_path)  # a run that starts again leaves each evaluation once
    lines = [json.loads(line) for line in (tmp_path / "evaluations.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 2, 3]
    scores = {row["step"]: row["eval/accuracy"] for row in read(tmp_path / "metrics.csv")}
    for line in lines:
        assert len(line["verdicts"]) == len(data.held_out)
        assert set(line["verdicts"]) <= {"0", "1"}
        assert float(scores[str(line["step"])]) == pytest.approx(line["verdicts"].count("1") / len(data.held_out))


def test_a_run_that_starts_again_leaves_each_step_once(tmp_path):
    run(tmp_path)
    run(tmp_path)
    assert [row["step"] for row in read(tmp_path / "metrics.csv")] == ["0", "1", "2", "3"]
    assert len((tmp_path / "rollouts.jsonl").read_text().splitlines()) == 3 * 16


def test_lines_of_later_steps_and_a_torn_last_line_are_dropped_on_resuming(tmp_path):
    run(tmp_path)
    path = tmp_path / "rollouts.jsonl"
    path.write_text(path.read_text() + '{"step": 3, "row"')
    module = module_of()
    module.counters.step = 2  # as a checkpoint would have it
    data = data_of(module, steps=3)
    fit(module, data, [Records(folder=tmp_path)])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1] * 16 + [2] * 16 + [3] * 16
    assert [row["step"] for row in read(tmp_path / "metrics.csv")] == ["0", "1", "2", "3"]


def test_completions_can_be_written_now_and_then_or_never(tmp_path):
    run(tmp_path / "some", rollouts_every=2)
    lines = (tmp_path / "some" / "rollouts.jsonl").read_text().splitlines()
    assert {json.loads(line)["step"] for line in lines} == {2}
    run(tmp_path / "none", rollouts_every=None)
    assert not (tmp_path / "none" / "rollouts.jsonl").exists()


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs a device that is always full")
def test_a_full_disk_is_named_and_the_row_is_written_when_there_is_room(tmp_path, monkeypatch):
    honest = MetricsTable.append

    def full(path, *how, **named):
        return open("/dev/full", *how, **named)

    def append(table, row) -> None:
        with monkeypatch.context() as patch:
            if row["step"] == 3:
                patch.setattr("gainrl.training.callbacks.records.open", full, raising=False)
            honest(table, row)

    monkeypatch.setattr(MetricsTable, "append", append)
    with pytest.raises(RecordsFailed, match=r"step 3: .*metrics.csv could not be written .*No space left.*Make room"):
        resumable.run(tmp_path / "full")
    assert [row["step"] for row in read(tmp_path / "full" / "metrics.csv")] == ["0", "1", "2"]
    monkeypatch.undo()
    whole = resumable.run(tmp_path / "whole")
    assert resumable.same_run(resumable.run(tmp_path / "full"), whole) == []


def test_a_tracker_that_is_repaired_is_given_all_steps_so_far(tmp_path):
    given: list[int] = []
    broken = [True]

    class Tracker:
        def log_metrics(self, row, step):
            if step == 3 and broken[0]:
                raise ConnectionError("its process is gone")
            given.append(step)

    def repair(tracker) -> bool:
        broken[0] = False
        given.clear()
        return True

    records = Records(folder=tmp_path, repair=repair)
    records.table = MetricsTable(tmp_path / "metrics.csv")
    trainer = SimpleNamespace(loggers=[Tracker()])
    for step in range(5):
        row = {"step": float(step), "value": float("nan")}
        records.table.append(row)
        if step == 3:
            with pytest.warns(UserWarning, match="was started again and has all steps so far"):
                records._track(trainer, row, step)
        else:
            records._track(trainer, row, step)
    assert given == [0, 1, 2, 3, 4]
