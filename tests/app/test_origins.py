"""What a run's record says about the repositories of its problems and its model."""

from types import SimpleNamespace

from huggingface_hub import constants

from gainrl.app.origins import origins
from gainrl.models.hub import HubModel

COMMIT = "7ae557604adf67be50417f59c2c2f167def9a775"


def components(source, **origins_of_sets):
    splits = SimpleNamespace(**{name: SimpleNamespace(origin=origin) for name, origin in origins_of_sets.items()})
    suites = [SimpleNamespace(name="aime24", problems=SimpleNamespace(origin="some/aime@" + "a" * 40))]
    return SimpleNamespace(splits=splits, evaluation_sets=suites, model_source=source)


def test_repository_and_commit_of_each_set_and_of_the_model_are_named(tmp_path, monkeypatch):
    cached = tmp_path / "models--some--model"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(COMMIT)
    (cached / "snapshots" / COMMIT).mkdir(parents=True)
    (cached / "snapshots" / COMMIT / "config.json").write_text("{}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    found = origins(
        components(HubModel(source="some/model"), train="some/set@" + "b" * 40, held_out="some/set@" + "b" * 40)
    )
    assert found == {
        "train": "some/set@" + "b" * 40,
        "held_out": "some/set@" + "b" * 40,
        "eval/aime24": "some/aime@" + "a" * 40,
        "model": f"some/model@{COMMIT}",
    }


def test_a_folder_has_no_repository(tmp_path):
    parts = components(HubModel(source=str(tmp_path)), train=None, held_out=None)
    assert origins(parts) == {"eval/aime24": "some/aime@" + "a" * 40}
