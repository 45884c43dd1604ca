"""The observational figures: what they show, checked on numbers; that they are drawn, on a run of a few steps."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from gainrl.app.errors import ConfigError
from gainrl.app.observations.epochs import of_trained_prompts
from gainrl.app.observations.gradients import associations
from gainrl.app.observations.maps import block_means, cosine_maps, depth_taps, maps_table, tokens_table
from gainrl.app.observations.quartiles import completions, quartile_of, quartiles_table
from gainrl.app.observe import observe
from gainrl.app.paths import config_dir
from gainrl.datasets.templates import PromptTemplate
from gainrl.functional.angles import concentration
from gainrl.models.tiny import TinyModel, tiny_tokenizer
from gainrl.signals.activations import Tap, tapped
from tests.app.finished import finished_run

TINY = {"hidden_size": 16, "intermediate_size": 32, "layers": 3, "heads": 2, "max_length": 160}
FEW = [
    "dataset.terms=[2,3]",
    "dataset.train_per_level=12",
    "dataset.held_out_per_level=4",
]
EMBEDDED = [*(f"model.{name}={value}" for name, value in TINY.items()), "model.warm_start=null", "model.words=[]"]


@pytest.fixture
def policy():
    return TinyModel(**TINY).load()


@pytest.fixture
def prompt(policy):
    template = PromptTemplate(system="Add.", example={"question": "1+1", "answer": "2"}, chat="auto")
    return template.bind(policy.tokenizer).encode_all(["a3 b+4 c-2"])[0]


def test_maps_hold_the_concentration_of_the_ranking_signal(policy, prompt):
    taps = depth_taps(policy.model, "mlp_input", 5)
    assert [tap.layer for tap in taps] == [0, 1, 2, -1]
    maps = cosine_maps(policy, prompt, taps)
    np.testing.assert_allclose(maps, maps.transpose(0, 2, 1), atol=1e-6)
    np.testing.assert_allclose(np.diagonal(maps, axis1=1, axis2=2), 1.0, atol=1e-5)
    with tapped(policy.model, [Tap("mlp_input", 2)]) as states, torch.no_grad():
        policy.model(input_ids=torch.tensor([prompt.ids]))
    start, end = prompt.question
    intra, inter = concentration(states[Tap("mlp_input", 2)][0], (start, end), (0, start))
    means = block_means(maps, prompt)
    assert means["question with itself"][2] == pytest.approx(float(intra), abs=1e-5)
    assert means["question with prefix"][2] == pytest.approx(float(inter), abs=1e-5)


def test_tables_of_a_map_name_every_pair_and_every_token(policy, prompt):
    taps = depth_taps(policy.model, "mlp_input", 2)
    size = len(prompt)
    table = maps_table({"before training": cosine_maps(policy, prompt, taps)}, taps)
    assert len(table) == 3 * size * (size + 1) / 2
    assert set(table["layer"]) == {"block 1", "block 3", "final norm"}
    tokens = tokens_table(prompt, policy.tokenizer)
    assert "".join(tokens["token"][tokens["segment"] == "question"]) == "a3 b+4 c-2"


def test_quartiles_start_with_the_highest_and_hold_a_quarter_each():
    values = np.array([8.0, 1.0, 7.0, 2.0, 6.0, 3.0, 5.0, 4.0])
    assert quartile_of(values).tolist() == [0, 3, 0, 3, 1, 2, 1, 2]
    levels = np.array([1, 1, 1, 1, 2, 2, 2, 2])
    assert quartile_of(values, levels).tolist() == [0, 3, 1, 2, 0, 3, 1, 2]
    assert quartile_of(np.array([1.0, np.nan])).tolist()[1] == -1


def test_accuracy_by_quartile_counts_completions_of_each_epoch():
    start = pd.DataFrame({"id": list("abcd"), "level": [1, 1, 1, 1], "concentration": [4.0, 3.0, 2.0, 1.0]})
    drawn = pd.DataFrame({"id": list("aaadda"), "epoch": [1, 1, 1, 1, 1, 2], "correct": [1, 1, 0, 0, 0, 1]})
    table = quartiles_table(drawn, start).query("quartiles == 'pool'").set_index(["quartile", "first"])
    assert table.loc[("highest", 1), "accuracy"] == pytest.approx(2 / 3)
    assert table.loc[("highest", 1), "completions"] == 3
    assert table.loc[("lowest", 1), "accuracy"] == 0
    assert table.loc[("highest", 2), "accuracy"] == 1
    assert len(table) == 3


def test_completions_are_read_by_epoch_without_those_that_were_not_judged(tmp_path):
    lines = [(1, "correct"), (4, "wrong"), (5, "unparsable"), (5, "error")]
    records = [{"step": step, "id": "p", "verdict": verdict} for step, verdict in lines]
    (tmp_path / "rollouts.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    found = completions(tmp_path, steps_per_epoch=4)
    assert found["epoch"].tolist() == [1, 1, 2]
    assert found["correct"].tolist() == [True, False, False]


def test_the_last_step_of_an_epoch_belongs_to_it(tmp_path):
    steps = pd.DataFrame({"step": [0, 1, 2, 3], "concentration/intra": [np.nan, 0.2, 0.4, 0.8]})
    steps.to_csv(tmp_path / "metrics.csv", index=False)
    table = of_trained_prompts(tmp_path, steps_per_epoch=2)
    assert table["epoch"].tolist() == [1, 2]
    assert table["mean"].tolist() == pytest.approx([0.3, 0.8])


def test_a_correlation_that_is_all_length_is_gone_once_length_is_out():
    draws = np.random.default_rng(0)
    length = np.repeat(np.arange(60.0), 4)
    noise = draws.normal(size=(2, 240)) * 0.01
    table = pd.DataFrame({"level": None, "question_tokens": length, "grad_norm": length + noise[0]})
    table = table.assign(concentration=length + noise[1], intra=length, inter=draws.normal(size=240))
    found = associations(table, resamples=200, seed=0).set_index(["signal", "kind"])
    assert found.loc[("concentration", "overall"), "rho"] > 0.99
    assert abs(found.loc[("concentration", "length_out"), "rho"]) < 0.2
    assert ("concentration", "within_level") not in found.index


@pytest.fixture
def observed(tmp_path):
    def call(*overrides: str, model: Sequence[str] = EMBEDDED) -> Path:
        few = ["problems=8", "resamples=20", "accelerator=cpu", f"output_dir={tmp_path / 'out'}"]
        given = [*model, *FEW, *few]
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            config = compose("observe", overrides=[*given, *overrides])
        observe(config, Console(quiet=True))
        return tmp_path / "out"

    return call


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The directory of a run of one epoch of four steps, with checkpoints of its second and its last step."""
    own = ["schedule.steps=4", "schedule.steps_per_epoch=4", "checkpoint.every_steps=2", "evaluation.every=2"]
    return finished_run(tmp_path_factory.mktemp("observed") / "run", *own)


def test_a_model_alone_gives_maps_and_gradients(observed):
    folder = observed()
    assert sorted(path.stem for path in folder.glob("*.png")) == ["gradients", "maps"]
    table = pd.read_csv(folder / "gradients.csv")
    assert len(table) == 8
    assert (table["concentration"] - table["intra"] - table["inter"]).abs().max() < 1e-6
    assert (table["grad_norm"] > 0).all()


def test_a_folder_with_a_model_of_another_architecture_gives_them_too(observed, tmp_path):
    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=160,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    GPTNeoXForCausalLM(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    folder = observed("depths=2", model=["model=hub", f"model.source={tmp_path / 'model'}"])
    assert sorted(path.stem for path in folder.glob("*.png")) == ["gradients", "maps"]
    assert set(pd.read_csv(folder / "maps.csv")["layer"]) == {"block 1", "block 3", "final norm"}
    assert OmegaConf.load(folder / "config.yaml").depths == 2  # what was asked for stays beside what was found


def test_a_run_gives_all_figures_from_start_to_end(observed, run):
    folder = observed(f"run={run}")
    assert sorted(path.stem for path in folder.glob("*.png")) == ["epochs", "gradients", "maps", "quartiles"]
    fixed = pd.read_csv(folder / "epochs.csv").query("prompts == 'fixed' and term == 'intra'")
    assert fixed["epoch"].tolist() == [0.0, 0.5, 1.0]  # steps 0, 2 and 4 of an epoch of four
    assert fixed["mean"].nunique() == 3
    assert set(pd.read_csv(folder / "maps.csv")["stage"]) == {"before training", "after training"}


def test_figures_that_need_a_run_say_so(observed, run, tmp_path):
    with pytest.raises(ConfigError, match="run=DIR"):
        observed("figures=[epochs]")
    with pytest.raises(ConfigError, match="maps,epochs,quartiles,gradients"):
        observed("figures=[neurons]")
    with pytest.raises(ConfigError, match="accelerator='tpu'"):
        observed("accelerator=tpu")
    (Path(shutil.copytree(run, tmp_path / "run")) / "rollouts.jsonl").unlink()
    with pytest.raises(ConfigError, match="lacks"):
        observed("figures=[quartiles]", f"run={tmp_path / 'run'}")
    with pytest.raises(ConfigError, match="holds no config"):
        observed("run=/nowhere")
