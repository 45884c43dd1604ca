from dataclasses import replace

import pytest
import torch

import gainrl.training.warm_start.cache as warm_start
from gainrl.datasets.arrow import ArrowProblems
from gainrl.datasets.splits import DataSplits
from gainrl.models.tiny import TinyModel, load_saved
from gainrl.training.warm_start.cache import warm_start_fingerprint, warm_started
from gainrl.training.warm_start.supervised import SolutionBatches, WarmStart
from tests.training.rig import sums, template_of, tiny_policy

SETTINGS = WarmStart(steps=3, sequences=8, learning_rate=1e-2, level_ratio=0.5)
IDENTITY = {"name": "tiny", "seed": 0}


def start(cache, *, settings=SETTINGS, identity=IDENTITY, splits: DataSplits | None = None):
    policy = tiny_policy()
    return warm_started(
        lambda: policy, settings, identity, template_of(policy), (splits or sums()).train, cache_dir=cache
    )


def test_the_phase_moves_the_weights_and_its_folder_holds_them_whole(tmp_path):
    policy = tiny_policy()
    before = policy.model.get_input_embeddings().weight.detach().clone()
    folder = warm_started(lambda: policy, SETTINGS, IDENTITY, template_of(policy), sums().train, cache_dir=tmp_path)
    stored = load_saved(str(folder))
    assert not torch.equal(policy.model.get_input_embeddings().weight, before)
    for name, value in policy.model.state_dict().items():
        assert torch.equal(stored.model.state_dict()[name], value)
    assert stored.stop_ids == policy.stop_ids
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # no draft is left


def test_the_second_time_nothing_is_trained(tmp_path, monkeypatch):
    folder = start(tmp_path)
    monkeypatch.setattr(warm_start, "train_supervised", lambda *a, **k: pytest.fail("trained again"))
    assert start(tmp_path) == folder


def test_everything_that_decides_the_weights_is_in_the_fingerprint(tmp_path):
    template = template_of(tiny_policy())

    def mark(settings=SETTINGS, identity=IDENTITY, problems=None):
        return warm_start_fingerprint(settings, identity, template, problems or sums().train)

    marks = [
        mark(),
        mark(settings=replace(SETTINGS, steps=4)),
        mark(settings=replace(SETTINGS, seed=1)),
        mark(identity=IDENTITY | {"seed": 1}),
        mark(problems=sums(count=12).train),
    ]
    assert len(set(marks)) == len(marks)
    assert mark() == marks[0]


def test_a_phase_that_fails_leaves_nothing_that_could_be_taken_for_its_result(tmp_path, monkeypatch):
    def broken(*given, **options):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(warm_start, "train_supervised", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        start(tmp_path)
    monkeypatch.undo()
    assert (start(tmp_path) / "config.json").exists()


def test_two_phases_with_one_seed_give_the_same_weights(tmp_path):
    one, other = (load_saved(str(start(tmp_path / name))).model.state_dict() for name in ("a", "b"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_sequence_is_prompt_solution_and_stop_and_low_levels_come_more_often():
    policy = tiny_policy()
    template = template_of(policy)
    splits = sums(count=12)
    batches = SolutionBatches(policy, replace(SETTINGS, steps=100), template, splits.train)
    by_prompt = {tuple(template.encode(p.question).ids): p for p in splits.train}
    levels = []
    for batch in batches:
        for example in batch:
            problem = by_prompt[(*template.prefix_ids, *example.rest)]
            levels.append(problem.level)
            assert policy.tokenizer.decode(example.solution) == f"{problem.solution}<end>"
    shares = [levels.count(level) / len(levels) for level in (1, 2, 3)]
    assert shares == pytest.approx([4 / 7, 2 / 7, 1 / 7], abs=0.06)


def test_problems_without_a_solution_are_refused(tmp_path):
    from gainrl.types import Problem

    problems = ArrowProblems.from_problems([Problem(id="a", question="1+1", reference_answer="2")], name="bare")
    with pytest.raises(ValueError, match=r"1 of 1 problems of bare have no worked solution.*model\.warm_start=null"):
        start(tmp_path, splits=DataSplits(train=problems, held_out=None))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": -1}, "steps must be 0 or more"),
        ({"sequences": 0}, "sequences 1 or more"),
        ({"level_ratio": 0.0}, r"level_ratio=0\.0 must lie in \(0, 1\]"),
        ({"learning_rate": 0.0}, "must be positive, such as 3e-3"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **changes)


def test_no_steps_store_the_initial_model(tmp_path):
    folder = start(tmp_path, settings=replace(SETTINGS, steps=0))
    fresh = TinyModel(hidden_size=16, intermediate_size=32, layers=1, heads=2, max_length=64).load().model.state_dict()
    stored = load_saved(str(folder)).model.state_dict()
    assert all(torch.equal(stored[name], fresh[name]) for name in fresh)
