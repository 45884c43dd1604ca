"""A plan decides what is compared, is named by its digest, and every departure from it is printed."""

import hashlib
from pathlib import Path

import pytest
import yaml

from gainrl.report.analysis_plan import read_plan_file
from gainrl.report.cli import cli
from tests.report.synthetic import write_run

PLAN = {
    "question": "Does the angle's order beat uniform draws, and the order by length?",
    "endpoint": "final",
    "reference": "vanilla_grpo",
    "gate": "oracle",
    "margin": "50%",
    "families": {"order": ["gain_rl > vanilla_grpo", "gain_rl > length_order"]},
    "bases": [0, 1, 2, 3],
    "seeds": [10, 11, 12],
    "stopping": "after the 48 runs of four bases and three seeds",
}
GAINS = {"vanilla_grpo": 0.3, "gain_rl": 0.3, "length_order": 0.4, "oracle": 0.45, "dapo": 0.5}


pytestmark = pytest.mark.usefixtures("quick_figures")


def planned(tmp_path, *, gains=None, **changes):
    for arm, gain in (gains or GAINS).items():
        for base in PLAN["bases"]:
            for seed in PLAN["seeds"]:
                write_run(tmp_path / "runs", arm, seed, base=base, gain=gain)
    return report(tmp_path, **changes)


def report(tmp_path, **changes):
    path = tmp_path / "analysis_plan.yaml"
    path.write_text(yaml.safe_dump(PLAN | changes))
    cli([str(tmp_path / "runs"), "--plan", str(path), "--out", str(tmp_path / "page")])
    return (tmp_path / "page" / "report.md").read_text()


def test_only_what_the_plan_names_is_concluded_on(tmp_path):
    page = planned(tmp_path, gains={arm: gain for arm, gain in GAINS.items() if arm != "dapo"})
    assert "Deviations from the plan: none." in page
    page = planned(tmp_path, gains={"dapo": GAINS["dapo"]})
    assert hashlib.sha256((tmp_path / "analysis_plan.yaml").read_bytes()).hexdigest() in page
    assert "The plan does not name dapo: nothing is concluded on these arms." in page
    table = (tmp_path / "page" / "tables" / "family_order.csv").read_text().splitlines()
    assert len(table) == 3
    assert table[2].startswith("gain_rl,length_order,final score")
    assert table[2].endswith("worse")
    # dapo is far ahead, and nobody planned to say so.
    assert "dapo: +" not in page
    assert "conclusion" not in (tmp_path / "page" / "tables" / "differences_final_score.csv").read_text()
    for path in (tmp_path / "runs").glob("baseline-gain_rl/s1[12]/record.json"):
        path.unlink()
    write_run(tmp_path / "runs", "gain_rl", 99, gain=0.9)
    page = report(tmp_path)
    assert "1 runs left out: their base or seed is not in the plan: gain_rl base 0 seed 99." in page
    assert "gain_rl lacks 2 of 12 planned runs: base 0 seed 11, base 0 seed 12." in page


def test_a_shut_gate_leaves_nothing_to_conclude(tmp_path):
    page = planned(tmp_path, gains=GAINS | {"oracle": 0.3})
    assert "The gate is shut: oracle does not beat vanilla_grpo, so nothing is concluded." in page
    assert "gain_rl: −" in page or "gain_rl: +" in page
    assert "worse than" not in page.partition("## Learning curves")[0]


def test_arms_that_are_the_same_trajectories_make_one_comparison(tmp_path):
    families = {"order": ["gain_rl > vanilla_grpo", "twin > vanilla_grpo", "twin > gain_rl"]}
    planned(tmp_path, gains=GAINS | {"twin": 0.3})
    for path in (tmp_path / "runs").glob("baseline-twin*/s*/metrics.csv"):
        path.write_text(Path(str(path).replace("baseline-twin", "baseline-gain_rl")).read_text())
    page = report(tmp_path, families=families)
    assert "twin > vanilla_grpo repeats gain_rl > vanilla_grpo and is counted once." in page
    write_run(tmp_path / "runs", "gain_rl", 99, gain=0.9)  # not planned, so that it decides nothing
    assert "and is counted once." in report(tmp_path, families=families)
    assert "twin > gain_rl is no comparison: the two are the same trajectories." in page
    assert len((tmp_path / "page" / "tables" / "family_order.csv").read_text().splitlines()) == 2


def test_two_arms_that_must_differ_are_a_gate_and_two_that_must_not_a_null_control(tmp_path):
    changes = {"margin": 0.2, "gate": "gain_rl <> length_order", "null_controls": ["gain_rl = vanilla_grpo"]}
    page = planned(tmp_path, **changes)
    assert "The gate is shut" not in page
    assert "equal within 0.2" in page
    page = report(tmp_path, **(changes | {"gate": "vanilla_grpo <> gain_rl", "null_controls": ["gain_rl = oracle"]}))
    assert "The gate is shut: vanilla_grpo does not differ from gain_rl, so nothing is concluded." in page
    assert "A null control fails: gain_rl and oracle differ by" in page
    findings = page.partition("Planned comparisons")[2]
    assert "vanilla_grpo and gain_rl: " in findings
    assert "no difference shown, and the gate is shut" in findings
    assert "not judged: vanilla_grpo <> gain_rl does not pass the gate" in findings
    assert "positive control" not in findings.partition("## ")[0]  # an arm called oracle is none, unless planned


def test_exclusions_are_those_of_the_plan_and_say_why(tmp_path):
    page = planned(tmp_path, exclusions=[{"arm": "gain_rl", "seed": 12, "why": "the disk was full"}])
    assert "4 runs left out as the plan has it (the disk was full): gain_rl base 0 seed 12" in page


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"families": {"order": ["gain_rl, vanilla_grpo"]}}, "has no ARM > ARM"),
        ({"families": {}}, "names no comparison"),
        ({"margin": "half"}, "neither a number nor a share"),
        ({"gate": None}, "share of the gate's gain"),
        ({"gate": "oracle <> gain_rl"}, "and gate is two arms"),
        ({"gate": "<> gain_rl"}, "has no ARM <> ARM of two arms"),
        ({"gate": 5}, "gate: 5 is no arm"),
        ({"null_controls": ["oracle, gain_rl"]}, "has no ARM = ARM"),
        ({"null_controls": ["oracle = oracle"]}, "has no ARM = ARM"),
        ({"null_controls": "oracle = gain_rl"}, "is no list"),
        ({"families": {"a": ["gain_rl > oracle"], "b": ["oracle > gain_rl"]}}, "compares oracle > gain_rl twice"),
        ({"exclusions": [{"arm": "dapo"}]}, "needs `why`"),
        ({"sedes": [1]}, "has sedes; the keys are question"),
        ({"families": {"order": ["gian_rl > vanilla_grpo"]}}, "names gian_rl, and the arms are"),
    ],
)
def test_plans_that_decide_too_little_are_refused(tmp_path, change, answer):
    for arm in ("vanilla_grpo", "oracle", "gain_rl"):
        write_run(tmp_path / "runs", arm, 10)
    with pytest.raises(SystemExit, match=answer):
        report(tmp_path, **change)


def test_what_the_plan_decides_cannot_be_typed_as_well(tmp_path):
    write_run(tmp_path / "runs", "vanilla_grpo", 10)
    path = tmp_path / "analysis_plan.yaml"
    path.write_text(yaml.safe_dump(PLAN))
    with pytest.raises(SystemExit, match="--alpha and --plan"):
        cli([str(tmp_path / "runs"), "--plan", str(path), "--alpha", "0.1"])


def test_a_plan_without_a_stopping_rule_is_refused(tmp_path):
    write_run(tmp_path / "runs", "vanilla_grpo", 10)
    path = tmp_path / "analysis_plan.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in PLAN.items() if key != "stopping"}))
    with pytest.raises(SystemExit, match="lacks stopping"):
        cli([str(tmp_path / "runs"), "--plan", str(path)])


def test_the_plans_in_docs_can_be_read_and_name_their_comparisons():
    plans = sorted((Path(__file__).parents[2] / "docs" / "plans").glob("*.yaml"))
    assert plans
    for path in plans:
        plan, digest = read_plan_file(path)
        assert len(digest) == 64
        assert plan.comparisons()
