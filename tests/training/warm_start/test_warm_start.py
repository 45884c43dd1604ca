from dataclasses import replace

import pytest
import torch

import gainrl.training.warm_start.cache as warm_start
import gainrl.training.warm_start.supervised as supervised
from gainrl.datasets.arrow import ArrowProblems
from gainrl.datasets.splits import DataSplits
from gainrl.datasets.templates import PromptTemplate
from gainrl.models.hub import HubModel
from gainrl.models.tiny import TinyModel, load_saved
from gainrl.training.warm_start.cache import warm_start_fingerprint, warm_started
from gainrl.training.warm_start.supervised import Example, SolutionBatches, WarmStart, parts, train_supervised
from tests.models.tiny_folders import save_tiny
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


# ------------------------------------------------------------------------------ micro-batches, resuming, hub models


def test_a_step_in_micro_batches_gives_the_same_weights_up_to_rounding(tmp_path):
    whole = load_saved(str(start(tmp_path))).model.state_dict()
    split = load_saved(str(start(tmp_path, settings=replace(SETTINGS, micro_batch_tokens=40)))).model.state_dict()
    for name, weight in whole.items():
        torch.testing.assert_close(split[name], weight, rtol=1e-4, atol=1e-5)


def test_micro_batches_hold_similar_lengths_and_no_more_tokens_than_asked_for():
    examples = [Example([0] * rest, [1, 2]) for rest in (9, 1, 5, 2, 30)]  # 11, 3, 7, 4 and 32 tokens
    found = parts(examples, 30, prefix=4)
    # 4 + 3 x 7 = 25 fits, a fourth of 11 would make 4 + 4 x 11; what fits nowhere is alone
    assert [[len(example) for example in part] for part in found] == [[3, 4, 7], [11], [32]]
    assert [len(part) for part in parts(examples, None, prefix=4)] == [3, 2]


class Killed(Exception):
    pass


def killed_after(steps):
    def progress(done):
        if done.step == steps:
            raise Killed

    return progress


def test_an_interrupted_phase_goes_on_to_the_same_weights_bit_for_bit(tmp_path):
    settings = replace(SETTINGS, steps=5)

    def run(policy, state=None, progress=None):
        train_supervised(
            policy,
            settings,
            template_of(policy),
            sums().train,
            state=state,
            save_every_seconds=0.0,
            progress=progress,
        )
        return policy.model.state_dict()

    whole, state = run(tiny_policy()), tmp_path / "state.pt"
    with pytest.raises(Killed):
        run(tiny_policy(), state, killed_after(3))
    assert torch.load(state, weights_only=True)["step"] == 2  # step 3 was reported before it could be kept
    steps = []
    again = run(tiny_policy(), state, lambda done: steps.append(done.step))
    assert steps == [3, 4, 5]
    assert all(torch.equal(again[name], whole[name]) for name in whole)


def test_a_phase_that_had_reached_its_goal_when_it_was_interrupted_takes_no_further_step(tmp_path):
    settings, state = replace(SETTINGS, steps=50, stop_at=1e-90), tmp_path / "state.pt"
    policy = tiny_policy()
    arguments = (settings, template_of(policy), sums().train)
    train_supervised(policy, *arguments, state=state, save_every_seconds=0.0)
    assert torch.load(state, weights_only=True)["step"] == 10  # the goal is looked at over ten steps
    train_supervised(policy, *arguments, state=state, progress=killed_after(11))


def test_the_cache_keeps_no_state_of_a_phase_that_has_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(supervised, "SAVE_EVERY_SECONDS", 0.0)
    folder = start(tmp_path)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_progress_tells_step_probability_and_time_left(tmp_path):
    reports = []
    policy = tiny_policy()
    train_supervised(policy, SETTINGS, template_of(policy), sums().train, progress=reports.append)
    assert [report.step for report in reports] == [1, 2, 3]
    assert reports[-1].probability == pytest.approx(0.0, abs=0.2)
    assert str(replace(reports[0], seconds=100.0, probability=0.25)) == (
        "warm start: step 1/3, solutions have probability 0.25, at most 3:20 left"
    )


@pytest.mark.parametrize("rank", [0, 4])
def test_a_model_of_a_folder_starts_warm_whole_or_through_an_adapter_that_is_merged(tmp_path, rank):
    source = save_tiny(tmp_path / "model", "qwen2")
    model = HubModel(source=source, lora_rank=rank)
    template = PromptTemplate(system="Add.").bind(model.tokenizer())
    settings = replace(SETTINGS, steps=8, learning_rate=3e-2, micro_batch_tokens=200)
    folder = warm_started(model.load, settings, model.identity(), template, sums().train, cache_dir=tmp_path)
    before, after = (HubModel(source=str(place)).load().model.state_dict() for place in (source, folder))
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("q_proj" in name for name in moved)
    assert ("model.embed_tokens.weight" in moved) == (rank == 0)
    policy = model.load(folder)  # what reinforcement begins with: a fresh adapter on the merged weights
    text = policy.tokenizer.encode("1+2")
    with torch.no_grad():
        logits = HubModel(source=str(folder)).load().model(torch.tensor([text])).logits
        torch.testing.assert_close(policy.model(torch.tensor([text])).logits, logits, rtol=0, atol=0)


def test_a_solution_ends_with_the_mark_that_the_chat_template_writes(tmp_path):
    policy = HubModel(source=save_tiny(tmp_path / "model", "qwen2")).load()
    assert len(policy.stop_ids) > 1
    batches = SolutionBatches(policy, SETTINGS, PromptTemplate(system="Add.").bind(policy.tokenizer), sums().train)
    assert {policy.tokenizer.decode(example.solution[-1:]) for example in batches.worked} == {"<|im_end|>"}


def test_the_weights_before_the_phase_decide_its_fingerprint(tmp_path):
    one, same = (HubModel(source=save_tiny(tmp_path / name, "qwen2")) for name in ("one", "same"))
    assert one.identity() == same.identity()  # copies of the same files
    assert one.identity() != HubModel(source=save_tiny(tmp_path / "other", "qwen2", rope_theta=1e5)).identity()
    assert one.identity() != HubModel(source=one.source, lora_rank=2).identity()
