from dataclasses import replace

import numpy as np
import pytest
import torch

from gainrl.app.ranking import between_signals, compare, extremes, order_files, published_orders, signal_table
from gainrl.app.ranking_report import write_report
from gainrl.types import Problem, PromptTokens


def build(count=40, levels=True):
    problems, prompts = [], []
    for row in range(count):
        length = 3 + (row * 7) % count
        problems.append(
            Problem(
                id=f"p{row}",
                question="|" * length,
                reference_answer="1",
                level=1 + row % 4 if levels else None,
                difficulty=1.0 + row % 4 if levels else None,
                solution="one\ntwo" if row % 2 else "one",
                extra={"row": row},
            )
        )
        prompts.append(PromptTokens(tuple(range(length + 2)), {"question": (2, length + 2)}))
    lengths = np.array([len(prompt) - 2 for prompt in prompts], np.float64)
    noise = np.random.default_rng(0).normal(size=count)
    values = {"angle": -lengths + noise, "pass_rate": noise}
    values["angle"][5] = np.nan
    return problems, prompts, values


def test_the_table_has_the_facts_that_the_data_has_and_every_signal():
    table = signal_table(*build())
    # Level and difficulty are the same number here, which is shown once.
    expected = ["id", "level", "source", "question_tokens", "question_characters", "solution_lines"]
    assert list(table.columns) == [*expected, "angle", "pass_rate"]
    assert table["question_tokens"].iloc[1] == 10
    assert table["solution_lines"].tolist()[:2] == [1, 2]
    assert "level" not in signal_table(*build(levels=False))


def test_every_signal_is_compared_with_every_target_overall_within_level_and_without_length():
    table = signal_table(*build())
    found = {(c.signal, c.target): c for c in compare(table, resamples=50, seed=0)}
    assert set(found) == {
        ("angle", "level"),
        ("angle", "solution_lines"),
        ("angle", "question_tokens"),
        ("angle", "pass_rate"),
        ("pass_rate", "level"),
        ("pass_rate", "solution_lines"),
        ("pass_rate", "question_tokens"),
    }
    length = found["angle", "question_tokens"]
    assert length.overall.value < -0.9
    assert length.without_length is None
    # What is left of the angle without its length is the noise, which the pass rate is.
    assert abs(found["angle", "pass_rate"].overall.value) < 0.3
    assert found["angle", "pass_rate"].without_length.value > 0.6
    assert found["angle", "pass_rate"].within_level.count == 39


def test_within_a_family_what_differs_between_families_counts_nothing():
    """Two families: in each the signal rises with the level, and the one with the higher levels has lower signals."""
    problems = [
        Problem(
            id=str(row), question="?", reference_answer="1", level=1 + row % 5 + 5 * (row // 5), source=f"f{row // 5}"
        )
        for row in range(10)
    ]
    prompts = [
        PromptTokens(tuple(range(4 + (7 * row) % 10)), {"question": (2, 4 + (7 * row) % 10)}) for row in range(10)
    ]
    values = {"angle": np.array([row % 5 - 10.0 * (row // 5) for row in range(10)])}
    table = signal_table(problems, prompts, values)
    found = {(c.signal, c.target): c for c in compare(table, resamples=20, seed=0)}["angle", "level"]
    assert found.overall.value < 0
    assert found.within_source.value == pytest.approx(1)
    assert found.within_source_without_length.value == pytest.approx(1)  # the signal is the level, in each family
    alone = signal_table(*build())
    assert all(c.within_source is None for c in compare(alone, resamples=20, seed=0))


def test_a_column_of_equal_numbers_of_lines_is_left_out():
    problems, prompts, values = build()
    same = [replace(problem, solution="one") for problem in problems]
    assert "solution_lines" not in signal_table(same, prompts, values)


def test_the_same_seed_gives_the_same_intervals():
    table = signal_table(*build())
    one, two, other = (compare(table, resamples=50, seed=seed)[0].overall for seed in (1, 1, 2))
    assert one == two != other


def test_extremes_come_with_the_most_extreme_first_and_without_missing_values():
    table = signal_table(*build())
    highest, lowest = extremes(table, "angle", 3)
    values = table["angle"].to_numpy()
    assert values[highest[0]] == np.nanmax(values)
    assert values[lowest[0]] == np.nanmin(values)
    assert 5 not in [*highest, *lowest]


def test_a_published_sort_by_length_is_recognised(tmp_path):
    problems, prompts, values = build()
    table = signal_table(problems, prompts, values)
    (tmp_path / "some_model").mkdir()
    order = np.argsort(table["question_tokens"].to_numpy())
    torch.save(torch.from_numpy(order), tmp_path / "some_model" / "processed_gsm8k.pt")
    torch.save(torch.arange(3), tmp_path / "some_model" / "processed_math.pt")
    (found,) = published_orders(order_files(tmp_path, "gsm8k_train"), problems, table, "angle", resamples=20, seed=0)
    assert (found.name, found.problems) == ("some_model/processed_gsm8k.pt", 40)
    assert found.length.value == pytest.approx(1.0)
    assert (found.neighbours, found.first_tenth) == (1.0, 1.0)
    assert found.signal.value < -0.9
    with pytest.raises(ValueError, match=r"processed_amc\.pt"):
        order_files(tmp_path, "amc")


def test_the_report_is_one_page_of_text_and_a_picture(tmp_path):
    problems, prompts, values = build()
    table = signal_table(problems, prompts, values)
    torch.save(torch.from_numpy(np.argsort(table["question_tokens"].to_numpy())), tmp_path / "processed_gsm8k.pt")
    write_report(
        tmp_path,
        title="Signals of a test",
        facts=["40 problems"],
        table=table,
        problems=problems,
        signal="angle",
        comparisons=compare(table, resamples=20, seed=0),
        orders=published_orders(order_files(tmp_path, "gsm8k"), problems, table, "angle", resamples=20, seed=0),
        resamples=20,
    )
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# Signals of a test\n")
    facts = [line for line in text.splitlines() if line.startswith("- ")]
    assert facts[0] == "- 40 problems"
    assert facts[1].startswith("- angle and question length: rho -1.00 [")
    assert facts[-1].startswith(f"- published order {tmp_path.name}/processed_gsm8k.pt: rho +1.00 [")
    assert facts[-1].endswith("with question length, short questions first")
    tables = text.split("## Rank correlations")[1].split("Between the columns")[0]
    assert "| signal | level | solution lines | length | pass rate |" in tables  # over all problems
    assert "| signal | solution lines | length | pass rate |" in tables  # within levels
    assert "| signal | level | solution lines | pass rate |" in tables  # with length out
    assert text.count("| highest |") == text.count("| lowest |") == 10
    rows = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("| highest")]
    assert len({line.count("|") for line in rows}) == 1  # bars in a question do not break the table
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_correlations_between_signals_are_symmetric_with_ones_on_the_diagonal():
    names, matrix = between_signals(signal_table(*build()))
    assert names[:2] == ["angle", "pass_rate"]
    np.testing.assert_allclose(matrix, matrix.T)
    np.testing.assert_allclose(np.diag(matrix), 1.0)
