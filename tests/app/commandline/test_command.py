"""What people type on their first days: refused with a sentence that helps, or accepted and meant."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from gainrl.app import evaluate, fetch, observe, rank, train
from gainrl.app.commandline.command import answer
from gainrl.app.commandline.composing import Composer, has, resolvable
from gainrl.app.commandline.help import help_text, listed_options
from gainrl.app.commandline.hints import ALSO_CALLED
from gainrl.app.errors import ConfigError
from gainrl.app.planned import list_jobs
from gainrl.app.schema import groups, read_yaml
from tests.composition import CONF

COMMANDS = {one.COMMAND.name: one.COMMAND for one in (train, evaluate, rank, observe, fetch)}
ROOT = Path(__file__).parents[3]
SLOW = "{'torch', 'transformers', 'datasets', 'lightning', 'pandas', 'matplotlib', 'pyarrow', 'scipy', 'wandb'}"


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def refusal(*arguments: str, command: str = "gainrl-train") -> str:
    with pytest.raises(ConfigError) as caught:
        answer(COMMANDS[command], arguments)
    return str(caught.value)


def composed(*arguments: str, command: str = "gainrl-train"):
    """The configuration of a command line that is accepted."""
    one = COMMANDS[command]
    return Composer(one.primary).compose([text for text in answer(one, arguments) if not text.startswith("--")])


# ------------------------------------------------------------------------- arms are never mislabelled


UNKNOWN = {
    "basline=vanilla_grpo": "baseline=vanilla_grpo",
    "algorithm.groupsize=16": "algorithm.group_size=16",
    "schedule.step=3": "schedule.steps=3",
    "lr=1e-5": "optimizer.optimizer.lr=1e-5",
    "optimizer.lr=1e-5": "optimizer.optimizer.lr=1e-5",
    "curriculum.widht=0.1": "curriculum.width=0.1",
    "algorithm.objective.epsilonhigh=0.3": "algorithm.objective.epsilon_high=0.3",
    "model.warm_start.step=3": "model.warm_start.steps=3",
    "trainer.device=2": "trainer.devices=2",
    "logger.wandb.entty=me": "logger.wandb.entity=me",
    "learning_rate=1e-5": "optimizer.optimizer.lr=1e-5",
    "num_generations=4": "algorithm.group_size=4",
    "trainer.gpus=2": "trainer.devices=2",
    "model.lr=1e-5": "optimizer.optimizer.lr=1e-5",
    "algorithm.kl=0.1": "algorithm.objective.beta=0.1",
    "schedule.batch_size=4": "schedule.prompts_per_step=4",
    "output_dir=x": "hydra.run.dir=x",
    "hydra.run.dri=x": "hydra.run.dir=x",
    "template.exmple=null": "template.example=null",
}
OPTIONS = {
    "baseline=gainrl": "baseline=gain_rl",
    "experiment=gsm8k": "experiment=gsm8k_0.5b",
    "curriculum=gian": "curriculum=gain",
    "callbacks=[default,early_stoping]": "callbacks=early_stopping",
    "window=alpha_hihg": "window=alpha_high",
    "hydra/launcher=jolib": "hydra/launcher=joblib",
}


@pytest.mark.parametrize("sign", ["", "+", "++"])
def test_an_unknown_key_is_refused_with_the_nearest_one_whatever_its_sign(sign):
    lines = refusal(*(sign + typed for typed in UNKNOWN)).splitlines()
    assert len(lines) == len(UNKNOWN)
    for line, (typed, meant) in zip(lines, UNKNOWN.items(), strict=True):
        assert line.startswith(f"{sign}{typed}: there is no ")
        assert line.endswith(f"did you mean {meant}?")
        assert "+" not in line.removeprefix(sign)


def test_an_unknown_option_is_refused_with_the_nearest_one():
    lines = refusal(*OPTIONS).splitlines()
    assert [line.partition("did you mean ")[2] for line in lines] == [f"{meant}?" for meant in OPTIONS.values()]


# What is no option, and what to type for it.
FILES = {
    "reward=mine.py:score": "reward=custom reward.path=mine.py:score",
    "dataset=mine.jsonl": "dataset=jsonl dataset.train=mine.jsonl",
    "model=Qwen/Qwen2.5-0.5B": "model=hub model.source=Qwen/Qwen2.5-0.5B",
    "logger=null": "logger=none",
    "logger=false": "logger=none",
    "curriculum=random": "curriculum=uniform",
    "reward=mine.score": "reward=custom reward.path=mine:score",
    "experiment=words.yaml": "experiment=words with --config-dir if it is yours",
}


def test_files_and_hub_ids_in_place_of_an_option_are_answered_with_the_way_to_give_them(tmp_path, monkeypatch):
    lines = refusal(*FILES).splitlines()
    assert [line.rpartition("; type ")[2] for line in lines] == list(FILES.values())
    assert refusal("debug=null").endswith("leave debug out: nothing is chosen by default")
    (tmp_path / "mine.jsonl").touch()
    (tmp_path / "mine.py").write_text("def score(completion, problem):\n    return 1.0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for advised in list(FILES.values())[:-1]:
        assert answer(COMMANDS["gainrl-train"], advised.split())
    assert "type reward=custom reward.path=mine.py:score (" in refusal("reward=mine.py")
    assert "type model=hub model.source=gpt2 for a model of the hub" in refusal("model=gpt2")


def test_an_option_of_ones_own_that_is_not_found_says_where_it_was_looked_for(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "words.yaml").write_text("# my experiment\ndefaults:\n  - override /dataset: gsm8k\n")
    assert refusal("experiment=words").endswith("FOLDER/experiment/words.yaml, add --config-dir FOLDER")
    below = refusal("--config-dir", str(tmp_path / "experiment"), "experiment=words")
    assert below.endswith("--config-dir takes the folder above, which holds experiment/")
    missing = refusal("--config-dir", str(tmp_path), "curriculum=zzz")
    assert missing.endswith(f"There is no file {tmp_path / 'curriculum' / 'zzz'}.yaml")
    headless = refusal("--config-dir", str(tmp_path), "experiment=words")
    assert headless.endswith("words.yaml sets other groups, so its first line must be: # @package _global_")


def test_epochs_are_not_taken_for_steps():
    for typed in ("epochs=3", "schedule.num_train_epochs=3"):
        assert "4 to an epoch (schedule.steps_per_epoch): type schedule.steps=..." in refusal(typed)


def test_names_of_other_libraries_lead_to_settings_that_exist():
    config = composed()
    for name, here in ALSO_CALLED.items():
        assert has(config, here) or here == "hydra.run.dir", name


def test_a_key_of_another_option_is_named_with_its_owner():
    assert "it belongs to curriculum=gain" in refusal("baseline=vanilla_grpo", "curriculum.width=0.1")
    assert "it belongs to reward=procedural" in refusal("reward=math", "reward.partial_credit=true")
    assert refusal("dataset.train=a.jsonl").endswith("dataset=jsonl: type dataset=jsonl dataset.train=a.jsonl")


def test_a_key_that_one_job_of_a_sweep_lacks_is_named_with_the_job():
    message = refusal("-m", "baseline=gain_rl,vanilla_grpo", "curriculum.width=0.1")
    assert "(the job with baseline=vanilla_grpo)" in message


def test_a_group_of_another_command_is_refused():
    assert refusal("curriculum=gain", command="gainrl-evaluate").startswith(
        "curriculum=gain: gainrl-evaluate does not take curriculum; it takes model"
    )


def test_unknown_keys_of_files_are_refused_too(tmp_path):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "words.yaml").write_text(
        "# @package _global_\nschedule:\n  step: 3\nbasline: x\n"
    )
    message = refusal("--config-dir", str(tmp_path / "mine"), "experiment=words")
    assert "schedule.step is not a setting, and nothing reads it; did you mean schedule.steps?" in message
    assert "basline is not a setting, and nothing reads it; did you mean baseline?" in message


def test_settings_that_contradict_each_other_are_named():
    assert refusal("concentration=null", "concentration.layer=2").startswith("concentration.layer cannot be set")


# ------------------------------------------------------------------------- signs decide nothing


def test_a_group_that_only_the_jobs_of_a_sweep_have_replaces_what_its_file_sets():
    found = answer(COMMANDS["gainrl-train"], ["sweep=blocks", "signal@signal.base=angle,random"])
    assert "signal@signal.base=angle,random" in found
    found = answer(COMMANDS["gainrl-train"], ["sweep=blocks", "signal@signal.base=random"])
    assert "hydra.sweeper.params={signal@signal.base:random}" in found
    with initialize_config_dir(str(CONF), version_base="1.3"):
        params = compose("config", found, return_hydra_config=True).hydra.sweeper.params
    assert params["signal@signal.base"] == "random"
    assert params["curriculum.keep"] == "easiest,hardest"


def test_a_plus_is_never_needed_and_never_changes_the_run():
    typed = ("algorithm.overlong.buffer_fraction=0.2", "window=alpha_high", "signal.layer=3", "logger.wandb.entity=me")
    assert composed(*typed) == composed(*(f"+{text}" for text in typed))


def test_what_a_constructor_takes_beyond_its_file_can_be_typed_plainly():
    config = composed("signal=answer_nll", "callbacks.mine._target_=lightning.pytorch.callbacks.TQDMProgressBar")
    assert config.callbacks.mine._target_.endswith("TQDMProgressBar")
    assert composed("signal@others.pass_rate=pass_rate", command="gainrl-rank").others.pass_rate.samples
    assert composed("reward@eval.rewards.gsm8k=math", "eval=math_suite").eval.rewards.gsm8k._target_


def test_every_template_has_every_text():
    """By its own file, or by that which it begins with."""
    for name in set(listed_options("config")["template"]) - {"by_source"}:  # whose texts are those of others
        content = read_yaml(CONF / "template" / f"{name}.yaml")
        assert {"system", "instruction", "example", "chat", "chat_arguments"} <= set(
            content
        ) or "defaults" in content, name


def test_a_template_can_be_changed_in_every_text():
    texts = ["system=S", "instruction=I", "example.question=Q", "example.answer=A", "chat=plain"]
    made = composed("template=boxed", *(f"template.{text}" for text in texts)).template
    assert (made.system, made.instruction, made.chat) == ("S", "I", "plain")
    assert dict(made.example) == {"question": "Q", "answer": "A"}


def test_fields_of_ones_own_data_can_be_named(tmp_path):
    (tmp_path / "x.jsonl").touch()
    names = ("question", "answer", "id", "level", "difficulty", "solution", "source")
    typed = [f"dataset.{name}=my_{name}" for name in names]
    made = composed("dataset=jsonl", "dataset.train=x.jsonl", *typed, "dataset.cache_dir=c", "dataset.split_seed=3")
    assert [made.dataset[name] for name in names] == [f"my_{name}" for name in names]


def test_a_template_of_ones_own_says_what_it_builds(tmp_path):
    (tmp_path / "mine" / "template").mkdir(parents=True)
    (tmp_path / "mine" / "template" / "short.yaml").write_text("system: Be short.\n")
    message = refusal("--config-dir", str(tmp_path / "mine"), "template=short")
    assert message.startswith("template has no _target_")
    assert "_target_: gainrl.datasets.templates.PromptTemplate" in message


# ------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (("seed=abc",), "seed=abc must be a whole number, 0 or more"),
        (("schedule.steps=ten",), "schedule.steps=ten must be a whole number, 1 or more"),
        (("curriculum.width=-1",), "width=-1 lies outside"),
        (("template.plain_form=x",), "must contain '{question}' exactly once"),
        (("dataset=jsonl",), "dataset=jsonl has no file to read; type dataset.train=mine.jsonl"),
        (("model=hub",), "model.source has no value; type model.source=..."),
        (("dataset=jsonl", "dataset.train=x.jsonl"), "x.jsonl is not a file"),
        (("model=hub", "model.source=/nowhere"), "model.source=/nowhere is no folder"),
        (("optimizer.optimizer.lr=abc",), "optimizer.optimizer.lr=abc must be a number"),
        (("rollout.temperature=0",), "type rollout.temperature=1.0"),
        (("algorithm.group_size=1",), "type algorithm.group_size=8"),
        (("algorithm.minibatch_prompts=5",), "type algorithm.minibatch_prompts=4"),
        (("resume=nowhere",), "resume=nowhere is neither a checkpoint nor a run directory"),
        (("logger.wandb.mode=sometimes",), "use one of auto, online, offline, disabled"),
        (("schedule.steps=1e3",), "type schedule.steps=1000"),
        (("reward=custom",), "type reward.path=my_rewards.py:score"),
        (("logger.wandb=false",), "type logger=none"),
        (("resume=true",), "resume=True must be a text or null"),
        (("signal.layer=all",), "signal.layer=all must be a number"),
        (("baseline", "vanilla_grpo"), "type baseline=vanilla_grpo"),
        (("vanilla_grpo",), "type baseline=vanilla_grpo"),
        (("help",), "type --help"),
        (("sweep=seeds,signals",), "Run one sweep after the other: gainrl-train sweep=seeds"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_values_are_checked_before_anything_is_written_or_imported(typed, message, tmp_path):
    assert message in refusal(*typed)
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_evaluated_on_ones_own_file_without_another_to_train_on(tmp_path):
    (tmp_path / "test.jsonl").touch()
    typed = ("model=tiny", "dataset=jsonl")
    assert refusal(*typed, command="gainrl-evaluate").endswith(
        "dataset.train=mine.jsonl, or dataset.held_out=mine.jsonl"
    )
    assert composed(*typed, "dataset.held_out=test.jsonl", command="gainrl-evaluate").dataset.train is None


def test_a_refusal_and_the_help_import_nothing_slow(tmp_path):
    """What makes a refusal slow is importing; seconds are not asserted, they depend on the machine."""
    lines = [["--help"], ["basline=x"], ["curriculum.width=-1"], ["seed=abc"], ["reward=custom", "reward.path=no.x:f"]]
    lines += [["dataset=jsonl", "dataset.train=x.jsonl"], ["model=hub", "model.source=/no"], ["trainer.devices=2"]]
    lines += [["optimizer.optimizer.lr=abc"], ["algorithm.group_size=1"], ["resume=nowhere"]]
    code = (
        f"import sys\nfrom gainrl.app.train import cli\nfor line in {lines!r}:\n    sys.argv[1:] = line\n"
        f"    try: cli()\n    except SystemExit as end: print('ended with', end.code)\n"
        f"print('imported', {SLOW} & set(sys.modules))"
    )
    environment = {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    printed = [line for line in done.stdout.splitlines() if line.startswith(("ended", "imported"))]
    assert printed == ["ended with 0", *["ended with 1"] * (len(lines) - 1), "imported set()"], done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [("evaluate", "run=nowhere"), ("rank", "limit=many"), ("observe", "run=nowhere"), ("fetch", "model.sorce=x")],
)
def test_refusals_of_the_other_commands_import_nothing_slow_either(module, line, tmp_path):
    code = (
        f"import sys\nfrom gainrl.app.{module} import cli\nsys.argv[1:] = [{line!r}]\n"
        f"try: cli()\nexcept SystemExit as end: print(end.code, {SLOW} & set(sys.modules))"
    )
    environment = {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.stdout == "1 set()\n", done.stderr
    assert done.stderr.startswith("Cannot ")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------- help


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_the_groups_that_the_command_takes(command):
    one = COMMANDS[command]
    text = help_text(one.primary, hidden=one.hidden, width=100)
    assert max(map(len, text.splitlines())) < 130
    listed = {
        line.split()[0]
        for line in text.partition("Groups (")[2].splitlines()[1:]
        if line.startswith("  ") and line[2] != " "
    }
    assert listed == set(groups(one.primary)) - set(one.hidden)


# Typed one by one, in tests/conf.
ELSEWHERE = {"experiment", "baseline", "sweep"}


@pytest.mark.parametrize("command", COMMANDS)
def test_everything_listed_can_be_typed_as_listed(command):
    """The groups are independent: each line chooses an option of every group."""
    one = COMMANDS[command]
    listed = {
        group: options
        for group, options in listed_options(one.primary, hidden=one.hidden).items()
        if group not in ELSEWHERE
    }
    composer = Composer(one.primary)
    for turn in range(max(map(len, listed.values()))):
        chosen = {group: options[turn % len(options)] for group, options in listed.items() if options}
        config = composer.compose([f"{group}={option}" for group, option in chosen.items()])
        assert {group: config.hydra.runtime.choices[group] for group in chosen} == chosen


def test_what_needs_more_says_so():
    assert "type signal.order=..." in refusal("signal=published")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_the_help_are_accepted(command, tmp_path):
    one = COMMANDS[command]
    run = tmp_path / "runs" / "arithmetic" / "default" / "s0"
    run.mkdir(parents=True)
    for path in (
        run / "config.yaml",
        *(tmp_path / name for name in ("config.json", "tokenizer.json", "model.safetensors")),
    ):
        path.touch()
    text = help_text(one.primary, hidden=one.hidden, width=100)
    lines = [line.strip() for line in text.partition("Groups (")[0].splitlines() if line.strip().startswith(one.name)]
    assert lines or command == "gainrl-fetch"
    for line in lines[1:]:
        typed = shlex.split(re.split(r"\s{2,}", line)[0].replace("[--resolve]", "").replace("DIR", "."))[1:]
        answer(one, typed)


# ------------------------------------------------------------------------- where a sweep goes


def places(*arguments: str) -> tuple[str, str]:
    """Folder of a sweep, and arm of its first job."""
    accepted = [text for text in answer(COMMANDS["gainrl-train"], ["-m", *arguments]) if text != "--multirun"]
    first = [text if text.startswith("hydra") else text.split(",")[0] for text in accepted]
    config = Composer("config").compose([*first, "hydra.mode=MULTIRUN"])
    with resolvable(config):
        return config.hydra.sweep.dir, str(Path(config.hydra.sweep.subdir).parent)


def test_arms_are_named_by_what_differs_and_folders_by_what_is_shared():
    assert places("baseline=gain_rl,vanilla_grpo", "seed=0,1") == ("runs/sweeps/baseline", "baseline-gain_rl")
    folder, arm = places("dataset=jsonl", "dataset.train=a.jsonl", "dataset.level=grade", "baseline=gain_rl,adarft")
    assert arm == "baseline-gain_rl"
    assert folder.startswith("runs/sweeps/dataset-jsonl,dataset.level-grade,dataset.train-a.jsonl,baseline")
    assert places("experiment=testbed", "baseline=gain_rl,adarft")[0] == "runs/sweeps/experiment-testbed,baseline"


def test_more_seeds_or_arms_go_into_the_same_folder_and_other_settings_into_another():
    few, more = places("baseline=gain_rl,adarft", "seed=0,1"), places("baseline=gain_rl,adarft,sec", "seed=0,1,2")
    assert few == more
    assert places("baseline=gain_rl,adarft", "schedule.steps=9")[0] != few[0]


def test_seeds_alone_leave_the_arm_its_name():
    assert places("baseline=sec", "seed=0,1") == ("runs/sweeps/baseline-sec", "baseline-sec")
    assert places("seed=0,1") == ("runs/sweeps/default", "default")


def test_a_sweep_file_names_its_folder_and_keeps_its_cells_apart_by_arm():
    assert places("sweep=seeds") == ("runs/sweeps/seeds", "default")
    assert places("sweep=seeds", "experiment=testbed")[0] == "runs/sweeps/seeds"
    assert places("sweep=seeds", "schedule.steps=9")[0] == "runs/sweeps/seeds,schedule.steps-9"


def test_what_a_sweep_file_fixes_is_in_the_name_of_no_arm():
    typed = ["-m", "sweep=blocks", "signal@signal.base=angle,length", "experiment=testbed", "seed=0"]
    settings = [text for text in answer(COMMANDS["gainrl-train"], typed) if text != "--multirun"]
    jobs = list_jobs(settings)
    assert [job.folder.parent.name for job in jobs] == [
        f"curriculum.keep-{end},experiment-testbed,signal@signal.base-{base}"
        for base in ("angle", "length")
        for end in ("easiest", "hardest")
    ]
    assert [job.arm for job in jobs] == [
        f"keep={end}, base={base}" for base in ("angle", "length") for end in ("easiest", "hardest")
    ]


def test_a_folder_that_was_typed_is_kept_with_full_names():
    folder, arm = places("hydra.sweep.dir=mine", "baseline=gain_rl,sec", "schedule.steps=9")
    assert (folder, arm) == ("mine", "baseline-gain_rl,schedule.steps-9")


def test_every_multirun_has_a_name_for_its_tag():
    config = Composer("config").compose(["hydra.mode=MULTIRUN", "hydra.sweep.dir=runs/sweeps/baseline"])
    with resolvable(config):
        assert config.run.sweep == "baseline"
    single = Composer("config").compose([])
    with resolvable(single):
        assert single.run.sweep is None
    assert OmegaConf.is_dict(single)
