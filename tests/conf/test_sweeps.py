"""Every job of every sweep composes, passes the checks before a run, and has a directory of its own."""

import itertools
import re
import shlex
import zlib

import numpy as np
import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

from gainrl.report.blocked import make_sweeps
from gainrl.report.cli import parser
from gainrl.report.reader import Run
from gainrl.report.sweep import Settings
from tests.composition import ROOT, content, options, settings, validated, whole

NAMES = options("sweep")
PAPER_ARMS = {"vanilla_grpo", "gain_rl", "adarft"}
has_optuna = any(plugin.__name__ == "OptunaSweeper" for plugin in Plugins.instance().discover(Sweeper))


def jobs(name):
    """Overrides of every job, as the basic sweeper expands ``hydra.sweeper.params``."""
    params = content("sweep", name)["hydra"]["sweeper"]["params"]
    parsed = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in params.items()])
    axes = [
        [f"{axis.get_key_element()}={value}" for value in axis.sweep_string_iterator()]
        if axis.is_sweep_override()
        else [f"{axis.get_key_element()}={axis.get_value_element_as_str()}"]
        for axis in parsed
    ]
    return [list(job) for job in itertools.product(*axes)]


def arms(name):
    """The jobs without their seeds."""
    found = {tuple(entry for entry in job if not entry.startswith("seed=")): None for job in jobs(name)}
    return [list(job) for job in found]


GRIDS = [name for name in NAMES if name != "search"]


@pytest.mark.parametrize("name", GRIDS)
def test_every_arm_of_a_sweep_composes_and_has_a_directory_of_its_own(name):
    directories = [validated(*job)[1] for job in arms(name)]
    assert len(set(directories)) == len(directories)
    assert all(not directory.startswith(("/", ".")) for directory in directories)


@pytest.mark.parametrize("name", GRIDS)
def test_no_two_arms_of_a_sweep_are_the_same_run(name):
    marks = [settings(*job) for job in arms(name)]
    assert len(set(marks)) == len(marks)


@pytest.mark.parametrize("name", NAMES)
def test_a_sweep_holds_nothing_but_the_settings_of_its_sweeper(name):
    file = content("sweep", name)
    assert set(file) <= {"defaults", "hydra"}
    assert all(key.startswith("override /hydra/") for entry in file.get("defaults", []) for key in entry)
    assert set(file["hydra"]) <= {"mode", "sweeper", "launcher"}
    assert file["hydra"]["mode"] == "MULTIRUN"
    if name in GRIDS:
        assert set(file["hydra"]["sweeper"]) == {"params"}


@pytest.mark.parametrize("name", GRIDS)
def test_arms_are_compared_on_the_same_seeds(name):
    seeds = {}
    for job in jobs(name):
        (seed,) = [entry for entry in job if entry.startswith("seed=")]
        seeds.setdefault(tuple(entry for entry in job if entry != seed), set()).add(seed)
    assert len({frozenset(chosen) for chosen in seeds.values()}) == 1
    assert len(next(iter(seeds.values()))) >= 4


def test_jobs_that_differ_in_their_seed_alone_have_directories_that_do(monkeypatch):
    config = whole("sweep=seeds", "baseline=gain_rl", "seed=7")
    monkeypatch.setattr(HydraConfig.instance(), "cfg", config)
    assert config.hydra.sweep.subdir == "./baseline-gain_rl/s7"
    assert config.hydra.sweep.dir == "runs/sweeps/seeds"


@pytest.mark.parametrize("name", GRIDS)
def test_selecting_a_sweep_starts_its_jobs(name):
    config = whole(f"sweep={name}")
    assert config.hydra.mode.name == "MULTIRUN"
    assert dict(config.hydra.sweeper.params) == content("sweep", name)["hydra"]["sweeper"]["params"]


@pytest.mark.parametrize("experiment", ["gsm8k_0.5b", "deepscaler_1.5b_embedded"])
@pytest.mark.parametrize("arm", sorted(PAPER_ARMS))
def test_a_sweep_over_arms_runs_under_any_experiment(experiment, arm):
    job, directory = validated(f"experiment={experiment}", f"baseline={arm}")
    assert directory == f"baseline-{arm},experiment-{experiment}"
    assert job.curriculum == validated(f"baseline={arm}")[0].curriculum


def test_the_comparison_of_all_curricula_holds_the_arms_of_the_paper():
    assert {f"baseline={arm}" for arm in PAPER_ARMS} <= {job[0] for job in arms("curricula")}


@pytest.mark.skipif(not has_optuna, reason="the extra `search` is not installed")
def test_the_search_composes_and_its_bounds_are_accepted():
    config = whole("sweep=search")
    assert config.hydra.sweeper._target_.endswith("OptunaSweeper")
    assert config.hydra.sweeper.direction == "maximize"
    for end in (0, 1):
        chosen = []
        for key, text in config.hydra.sweeper.params.items():
            (axis,) = OverridesParser.create().parse_overrides([f"{key}={text}"])
            interval = axis.value()
            chosen.append(f"{key}={(interval.start, interval.end)[end]}")
        validated(*chosen)


def test_the_readme_lists_every_sweep_with_the_number_of_its_jobs():
    text = (ROOT / "sweeps" / "README.md").read_text(encoding="utf-8").partition("## What a yes")[0]
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if re.match(r"\| `\w+` ", line)
    ]
    stated = {row[0].strip("`"): int(row[3]) for row in rows}
    counted = {name: len(jobs(name)) for name in GRIDS}
    counted["search"] = content("sweep", "search")["hydra"]["sweeper"]["n_trials"]
    assert stated == counted


def reports():
    """Sweep, options of the report, comparisons and runs of an arm, as sweeps/README.md has them."""
    text = (ROOT / "sweeps" / "README.md").read_text(encoding="utf-8").partition("## What to type")[2]
    for line in text.splitlines():
        if line.startswith("| `"):
            sweep, options, _, comparisons, runs = (cell.strip(" `") for cell in line.strip("|").split("|"))
            yield pytest.param(sweep, shlex.split(options), int(comparisons), int(runs), id=f"{sweep} {options}")


def finished(job):
    """A run as the report reads it; its score is its own, since equal runs count once."""
    seed = next(int(entry[5:]) for entry in job if entry.startswith("seed="))
    columns = {name: np.array([0.0, 1.0]) for name in ("step", "generated_tokens")}
    columns["eval/accuracy"] = np.array([0.0, zlib.crc32(repr(job).encode()) / 2**32])
    return Run(",".join(job), "arm", seed, "finished", overrides=tuple(job), columns=columns)


@pytest.mark.parametrize(("sweep", "options", "comparisons", "each"), reports())
def test_the_report_of_a_sweep_compares_what_the_readme_says(sweep, options, comparisons, each):
    given = parser().parse_args(["DIR", *options])
    settings = Settings(reference=given.reference, within=tuple(given.within))
    runs = [finished(job) for job in jobs(sweep)]
    sweeps, unscored = make_sweeps(runs, settings)
    counts = [len(sweep.chosen(label)) for sweep in sweeps for label in sweep.others if label != sweep.gate]
    assert not unscored
    assert not any(sweep.guessed for sweep in sweeps)
    assert sum(len(sweep.chosen(label)) for sweep in sweeps for label in sweep.labels) == len(runs)
    assert (len(counts), set(counts)) == (comparisons, {each})


def test_every_grid_has_a_row_for_its_report():
    assert {row.values[0] for row in reports()} == set(GRIDS)


@pytest.mark.parametrize("folder", ["sweeps", "experiments"])
def test_tables_fit_a_terminal(folder):
    lines = (ROOT / folder / "README.md").read_text(encoding="utf-8").splitlines()
    assert max(len(line) for line in lines if line.startswith("|")) <= 120
