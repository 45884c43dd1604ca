import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from rich.console import Console

from gainrl.app.faults import ConfigError
from gainrl.app.paths import config_dir
from gainrl.app.rank import rank


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
    assert "Within levels" in report
    assert "angle and question length: rho" in report
    assert (folder / "report.png").stat().st_size > 0


def test_settings_that_cannot_work_are_refused_before_anything_is_scored(run):
    with pytest.raises(ConfigError, match="table=csv"):
        run("table=excel")
    with pytest.raises(ConfigError, match="split=held_out"):
        run("split=test")
