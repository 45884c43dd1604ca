import sys

import pytest

from gainrl.report.reader import AXES
from gainrl.report.wandb_view import cli, comparison_view, save


def test_the_view_groups_runs_by_arm_over_every_budget(monkeypatch):
    pytest.importorskip("wandb_workspaces")
    view = comparison_view("team", "gainrl", name="Arms", sweep="curricula")
    assert (view.entity, view.project, view.name) == ("team", "gainrl", "Arms")
    assert [key.name for key in view.runset_settings.groupby] == ["Group"]
    assert "curricula" in str(view.runset_settings.filters)
    curves = view.sections[0].panels
    assert [panel.x for panel in curves] == list(AXES)
    assert {panel.y[0] for panel in curves} == {"eval/accuracy"}
    assert {(panel.groupby_aggfunc, panel.groupby_rangefunc) for panel in curves} == {("mean", "stderr")}


def test_a_server_out_of_reach_is_answered_in_words():
    class Unreachable:
        def save(self):
            raise ConnectionError("no route to host\nand more")

    with pytest.raises(ValueError, match=r"no W&B server took the view \(no route to host\).*gainrl-report DIR"):
        save(Unreachable())


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(SystemExit, match=r"No view: .*pip install 'gainrl\[wandb-view\]'"):
        cli(["team/gainrl"])


def test_a_project_without_an_entity_is_refused(capsys):
    with pytest.raises(SystemExit):
        cli(["gainrl"])
    assert "type ENTITY/PROJECT" in capsys.readouterr().err
