import io

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console

from gainrl.app.errors import ConfigError
from gainrl.app.extraction_progress import reporter
from gainrl.app.paths import config_dir
from gainrl.app.rank import rank
from gainrl.models.tiny import TinyModel
from gainrl.signals.progress import Progress


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("GAINRL_CACHE", str(tmp_path / "cache"))

    def ranked(*overrides):
        settings = ["model.warm_start=null", "limit=12", "resamples=20", f"output_dir={tmp_path / 'out'}"]
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            config = compose("rank", overrides=[*settings, *overrides])
        return rank(config, Console(quiet=True))

    return ranked


def test_a_data_set_is_scored_into_a_table_and_a_report(run):
    folder = run("table=csv", "+signal@others.length=length")
    table = pd.read_csv(folder / "signals.csv")
    assert len(table) == 12
    assert {"id", "level", "angle", "angle_intra", "angle_inter", "perplexity", "length"} <= set(table.columns)
    assert (table["angle"] - table["angle_intra"] - table["angle_inter"]).abs().max() < 1e-6
    assert (table["length"] == table["question_tokens"]).all()
    report = (folder / "report.md").read_text()
    assert "Over all problems:" in report
    assert (folder / "report.png").stat().st_size > 0


def test_settings_that_cannot_work_are_refused_before_anything_is_scored(run):
    with pytest.raises(ConfigError, match="table=csv"):
        run("table=excel")
    with pytest.raises(ConfigError, match="split=held_out"):
        run("split=test")


def test_missing_fields_of_the_data_are_named_before_the_model_is_loaded(run, monkeypatch, tmp_path):
    def load(self):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(TinyModel, "load", load)
    with pytest.raises(ValueError, match="no order for 'arithmetic"):
        run(f"published={tmp_path}")
    with pytest.raises(ValueError, match="no order file"):
        run("+signal@others.published=published", "others.published.order=none.pt")


def test_a_call_given_again_is_served_from_the_cache_and_keeps_its_configuration(run):
    first = pd.read_csv(run("table=csv") / "signals.csv")
    folder = run("table=csv")
    pd.testing.assert_frame_equal(pd.read_csv(folder / "signals.csv"), first)
    assert OmegaConf.load(folder / "config.yaml").limit == 12


def test_progress_in_a_log_file_is_a_line_now_and_then(monkeypatch):
    clock = iter([0.0, 1.0, 40.0, 40.0, 41.0])
    monkeypatch.setattr("gainrl.app.extraction_progress.time.monotonic", lambda: next(clock))
    console = Console(file=io.StringIO(), force_terminal=False, width=200)
    report = reporter(console, lambda text: pytest.fail("nothing is shown in place"))
    for done in (1, 2, 3):
        report(Progress(("angle",), done, 4, 10 * done, 40, 1.0))
    assert console.file.getvalue() == "angle: 2/4 prompts, 2.0 prompts/s, 20 tokens/s, 1 s left\n"
