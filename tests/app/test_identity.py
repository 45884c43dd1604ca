import json

import pytest
import yaml

from gainrl.app.errors import RunRefused
from gainrl.app.identity import RunRecord, differences, fingerprint, git_commit, open_run, plain_config
from tests.composition import composed

PLAIN = {
    "seed": 0,
    "schedule": {"steps": 3},
    "run": {"output_dir": "a"},
    "identity_excludes": ["run", "schedule.names"],
}


def test_paths_and_machine_settings_do_not_change_what_a_run_is():
    def mark(*overrides, folder="here"):
        return fingerprint(plain_config(composed(*overrides, folder=folder)))

    same = [(), ("logger=none",), ("trainer.devices=2",), ("data_dir=/data",), ("records.traceback=true",)]
    assert len({mark(*overrides) for overrides in same} | {mark(folder="there")}) == 1
    others = [(), ("seed=1",), ("curriculum.width=0.2",), ("evaluation.every=7",), ("rollout.temperature=0.9",)]
    assert len({mark(*overrides) for overrides in others}) == len(others)


def test_excluded_paths_may_be_nested_or_absent():
    other = {**PLAIN, "run": {"output_dir": "b"}, "schedule": {"steps": 3, "names": "x"}}
    assert fingerprint(PLAIN) == fingerprint(other)


def test_opening_a_run_writes_nothing_and_beginning_it_marks_the_directory(tmp_path):
    folder = tmp_path / "run"
    record = open_run(folder, PLAIN)
    assert record.status is None
    assert not folder.exists()
    record.begin(PLAIN)
    stored = json.loads((folder / "record.json").read_text())
    assert (stored["status"], stored["fingerprint"]) == ("running", fingerprint(PLAIN))
    assert {"python", "torch", "gainrl"} <= set(stored["versions"])
    assert "steps: 3" in (folder / "config.yaml").read_text()


def test_an_unfinished_run_may_go_on_and_its_old_fault_is_forgotten(tmp_path):
    record = open_run(tmp_path, PLAIN)
    record.begin(PLAIN)
    record.update(status="failed", fault="out of memory")
    again = open_run(tmp_path, PLAIN)
    assert again.status == "failed"
    again.begin(PLAIN)
    assert RunRecord(tmp_path).status == "running"
    assert "fault" not in RunRecord(tmp_path).content


def test_the_directory_of_another_run_is_refused_with_what_differs(tmp_path):
    open_run(tmp_path, PLAIN).begin(PLAIN)
    (tmp_path / "metrics.csv").write_text("step,reward\n")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RunRefused) as caught:
        open_run(tmp_path, {**PLAIN, "seed": 4, "schedule": {"steps": 9}})
    text = str(caught.value)
    assert "seed: 0 there, 4 now" in text
    assert "schedule.steps: 3 there, 9 now" in text
    assert "hydra.run.dir=" in text
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_run_of_another_version_is_refused_with_what_still_loads(tmp_path, monkeypatch):
    record = open_run(tmp_path, PLAIN)
    record.begin(PLAIN)
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "config.json").touch()
    renamed = {**PLAIN, "schedule": {"steps": 3, "prompts": 4}}
    for commit, told in (("1" * 40, False), ("2" * 40, True)):
        record.update(git_commit="1" * 40)
        monkeypatch.setattr("gainrl.app.identity.git_commit", lambda commit=commit: commit)
        with pytest.raises(RunRefused, match=r"schedule\.prompts: '\(absent\)' there, 4 now") as caught:
            open_run(tmp_path, renamed)
        assert ("made by gainrl at commit 1111111 and this is 2222222" in str(caught.value)) is told
        assert (f"model=hub model.source={tmp_path / 'policy'}" in str(caught.value)) is told


def test_a_corrected_command_takes_over_the_directory_of_a_run_that_computed_nothing(tmp_path):
    record = open_run(tmp_path, PLAIN)
    record.begin(PLAIN)
    record.update(status="failed", fault="does not fit", formula="...")
    (tmp_path / "wandb" / "offline-run").mkdir(parents=True)
    (tmp_path / "wandb" / "offline-run" / "run.wandb").touch()
    (tmp_path / "checkpoints").mkdir()
    corrected = {**PLAIN, "seed": 4}
    open_run(tmp_path, corrected).begin(corrected)
    stored = RunRecord(tmp_path).content
    assert (stored["fingerprint"], stored["status"]) == (fingerprint(corrected), "running")
    assert not {"fault", "formula"} & set(stored)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == corrected


@pytest.mark.parametrize("name", ["metrics.csv", "checkpoints/last.ckpt", "signals/angle.npz", "notes.txt"])
def test_what_was_computed_or_came_from_elsewhere_is_never_taken_over(name, tmp_path):
    open_run(tmp_path, PLAIN).begin(PLAIN)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(RunRefused, match="seed: 0 there, 4 now"):
        open_run(tmp_path, {**PLAIN, "seed": 4})


def test_a_directory_with_files_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(RunRefused, match=r"holds files but no run \(thesis.tex\)"):
        open_run(tmp_path, PLAIN)


def test_differences_name_each_leaf_once():
    assert differences({"a": {"b": 1, "c": 2}, "d": []}, {"a": {"b": 1, "c": 3}, "e": None}) == [
        "a.c: 2 there, 3 now",
        "d: [] there, '(absent)' now",
        "e: '(absent)' there, None now",
    ]


def test_the_commit_comes_from_the_package_and_not_from_a_surrounding_repository(tmp_path, monkeypatch):
    commit = git_commit()
    assert commit is None or len(commit.removesuffix("+changes")) == 40
    stray = tmp_path / "identity.py"
    stray.touch()
    monkeypatch.setattr("gainrl.app.identity.__file__", str(stray))
    assert git_commit() is None


def test_a_run_that_died_before_its_configuration_was_written_is_taken_up(tmp_path):
    plain = PLAIN
    RunRecord(tmp_path).update(fingerprint=fingerprint(plain), status="running")
    (tmp_path / "config.draft").write_text("half")
    open_run(tmp_path, plain).begin(plain)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == plain


def test_a_draft_alone_is_no_stranger(tmp_path):
    (tmp_path / "record.draft").write_text("{")
    assert open_run(tmp_path, PLAIN).content == {}
