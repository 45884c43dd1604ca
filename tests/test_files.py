"""A reader, or a process that dies, never meets half a file."""

import os

import pytest

from gainrl.files import whole_file


def test_the_old_content_stands_until_the_block_ends(tmp_path):
    path = tmp_path / "below" / "name.json"
    path.parent.mkdir()
    path.write_text("old")
    with whole_file(path) as draft:
        draft.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path):
    path = tmp_path / "name.json"
    path.write_text("old")

    def interrupted():
        with whole_file(path) as draft:
            draft.write_text("half of the ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_dead_writer_left_is_replaced_and_what_it_is_linked_to_stays_as_it_is(tmp_path):
    path, other = tmp_path / "name.json", tmp_path / "other.json"
    other.write_text("other")
    with whole_file(path) as draft:
        pass_on = draft
        draft.write_text("first")
    os.link(other, pass_on)
    with whole_file(path) as draft:
        assert draft == pass_on
        draft.write_text("second")
    assert (path.read_text(), other.read_text()) == ("second", "other")
    assert sorted(tmp_path.iterdir()) == [path, other]


def test_two_writers_of_one_file_do_not_share_a_draft(tmp_path):
    path = tmp_path / "name.json"
    with whole_file(path, contested=True) as first, whole_file(path, contested=True) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # the inner block ended before


def test_a_durable_file_is_on_the_disk_before_it_gets_its_name_and_the_name_before_the_block_ends(
    tmp_path, monkeypatch
):
    events = []
    replace = os.replace
    monkeypatch.setattr("gainrl.files.sync", lambda path: events.append(path.name))
    monkeypatch.setattr(os, "replace", lambda *given: (events.append("replaced"), replace(*given)))
    with whole_file(tmp_path / "name.json", durable=True) as draft:
        draft.write_text("new")
    assert events == [draft.name, "replaced", tmp_path.name]
