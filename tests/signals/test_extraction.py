import numpy as np
import pytest
import torch

from gainrl.signals.angle import AngleSignal
from gainrl.signals.answer_nll import AnswerNLLSignal
from gainrl.signals.cache import ValueStore, weights_hash
from gainrl.signals.context import fit_prompts
from gainrl.signals.extraction import extract
from gainrl.signals.grad_norm import GradNormSignal
from gainrl.signals.hidden_norm import HiddenNormSignal
from gainrl.signals.length import LengthSignal
from gainrl.signals.matched import MatchedSignal
from gainrl.signals.perplexity import PerplexitySignal
from gainrl.signals.residual import ResidualSignal
from gainrl.types import PromptTokens
from tests.signals.conftest import ARCHITECTURES, build_policy, build_problems, build_prompts

SIGNALS = {
    "angle": AngleSignal(),
    "residual": ResidualSignal(base=AngleSignal()),
    "perplexity": PerplexitySignal(),
    "length": LengthSignal(),
    "grad_norm": GradNormSignal(),
}


def count_forwards(policy):
    calls = []
    policy.model.model.embed_tokens.register_forward_pre_hook(lambda module, args: calls.append(args[0].shape))
    return calls


class Interrupted(Exception):
    pass


def interrupt_after(batches):
    def progress(report):
        nonlocal batches
        batches -= 1
        if not batches:
            raise Interrupted

    return progress


def test_extraction_gives_what_each_signal_gives_by_itself(policy, problems, prompts):
    result = extract(SIGNALS, problems, prompts, policy)
    assert list(result.values) == list(SIGNALS)
    for name, signal in SIGNALS.items():
        np.testing.assert_allclose(
            result.values[name], signal.compute(problems, prompts, policy), rtol=1e-5, err_msg=name
        )
    assert (result.cached, result.dropped, result.truncated) == ((), 0, 0)


def test_a_signal_and_its_residual_cost_one_pass(policy, problems, prompts):
    calls = count_forwards(policy)
    extract({"angle": AngleSignal()}, problems, prompts, policy)
    alone = len(calls)
    calls.clear()
    extract({"angle": AngleSignal(), "rest": ResidualSignal(base=AngleSignal())}, problems, prompts, policy)
    assert len(calls) == alone


def test_what_derives_from_several_signals_measures_each_once_and_is_cached_with_all_of_them(
    policy, problems, prompts, tmp_path
):
    matched = MatchedSignal(
        base=AngleSignal(), by={"length": LengthSignal(), "perplexity": PerplexitySignal()}, strata=2
    )
    calls = count_forwards(policy)
    extract({"angle": AngleSignal(), "perplexity": PerplexitySignal()}, problems, prompts, policy)
    alone = len(calls)
    calls.clear()
    first = extract({"angle": AngleSignal(), "m": matched}, problems, prompts, policy, cache_dir=tmp_path)
    assert len(calls) == alone
    assert first.cached == ()
    calls.clear()
    again = extract({"m": matched}, problems, prompts, policy, cache_dir=tmp_path)
    assert not calls
    assert again.cached == ("m",)
    np.testing.assert_allclose(again.values["m"], matched.compute(problems, prompts, policy))


def test_values_are_served_from_the_cache_without_a_forward(policy, problems, prompts, tmp_path):
    first = extract(SIGNALS, problems, prompts, policy, cache_dir=tmp_path)
    calls = count_forwards(policy)
    again = extract(SIGNALS, problems, prompts, policy, cache_dir=tmp_path)
    assert not calls
    assert set(again.cached) == {"angle", "residual", "perplexity", "grad_norm"}
    for name in SIGNALS:
        np.testing.assert_array_equal(again.values[name], first.values[name])


@pytest.mark.parametrize("change", ["weight", "config", "template", "span", "data", "settings", "tokenizer"])
def test_nothing_stale_is_served_when_anything_changes(change, tmp_path):
    policy, problems, prompts = build_policy(ARCHITECTURES["qwen2"]()), build_problems(), build_prompts()
    signal = AnswerNLLSignal() if change == "tokenizer" else AngleSignal()
    extract({"x": signal}, problems, prompts, policy, cache_dir=tmp_path)
    if change == "weight":
        with torch.no_grad():
            policy.model.model.layers[1].mlp.up_proj.weight[3, 2] += 1e-3
    elif change == "config":
        policy.model.config.rms_norm_eps = 1e-3
    elif change == "template":
        prompts = [PromptTokens((7, *prompt.ids[1:]), prompt.segments) for prompt in prompts]
    elif change == "span":
        start, end = prompts[0].question
        prompts[0] = PromptTokens(prompts[0].ids, {"question": (start, end - 1)})
    elif change == "data":
        problems = [*problems[:-1], build_problems(10)[-1]]
    elif change == "settings":
        signal = AngleSignal(diagonal=False)
    elif change == "tokenizer":
        policy.tokenizer.encode = lambda text, add_special_tokens: [5] * len(text)
    assert extract({"x": signal}, problems, prompts, policy, cache_dir=tmp_path).cached == ()


def test_the_cache_is_used_again_when_the_weights_come_back(policy, problems, prompts, tmp_path):
    extract({"angle": AngleSignal()}, problems, prompts, policy, cache_dir=tmp_path)
    before = {name: tensor.clone() for name, tensor in policy.model.state_dict().items()}
    with torch.no_grad():
        policy.model.lm_head.weight.mul_(2)
    assert extract({"angle": AngleSignal()}, problems, prompts, policy, cache_dir=tmp_path).cached == ()
    policy.model.load_state_dict(before)
    assert extract({"angle": AngleSignal()}, problems, prompts, policy, cache_dir=tmp_path).cached == ("angle",)


def test_an_interrupted_extraction_continues_where_it_stopped(policy, problems, prompts, tmp_path):
    expected = extract({"angle": AngleSignal()}, problems, prompts, policy).values["angle"]

    def run(progress=None):
        return extract(
            {"angle": AngleSignal()},
            problems,
            prompts,
            policy,
            cache_dir=tmp_path,
            tokens_per_batch=20,
            progress=progress,
        )

    reports = []
    with pytest.raises(Interrupted):
        run(interrupt_after(2))
    result = run(reports.append)
    done_before = 9 - reports[-1].all_prompts
    assert done_before > 0
    assert reports[-1].prompts == reports[-1].all_prompts
    np.testing.assert_allclose(result.values["angle"], expected, atol=1e-6)
    assert run().cached == ("angle",)
    assert not list(tmp_path.glob("*.parts"))


def test_a_signal_added_after_an_interruption_does_not_disturb_the_parts(policy, problems, prompts, tmp_path):
    arguments = {"cache_dir": tmp_path, "tokens_per_batch": 20}
    with pytest.raises(Interrupted):
        extract({"angle": AngleSignal()}, problems, prompts, policy, progress=interrupt_after(2), **arguments)
    both = {"angle": AngleSignal(), "norm": HiddenNormSignal()}
    with pytest.raises(Interrupted):
        extract(both, problems, prompts, policy, progress=interrupt_after(1), **arguments)
    result = extract(both, problems, prompts, policy, **arguments)
    for name, signal in both.items():
        np.testing.assert_allclose(result.values[name], signal.compute(problems, prompts, policy), atol=1e-5)


def test_signals_without_a_shared_pass_resume_too(policy, tmp_path):
    problems, prompts = build_problems(100), build_prompts(100)
    signal = {"grad_norm": GradNormSignal(target="question")}
    with pytest.raises(Interrupted):
        extract(signal, problems, prompts, policy, cache_dir=tmp_path, progress=interrupt_after(1))
    reports = []
    result = extract(signal, problems, prompts, policy, cache_dir=tmp_path, progress=reports.append)
    assert reports[-1].all_prompts == 100 - 64
    assert np.isfinite(result.values["grad_norm"]).all()


def test_progress_counts_up_to_all_prompts_and_tokens(policy, problems, prompts):
    reports = []
    extract({"angle": AngleSignal()}, problems, prompts, policy, tokens_per_batch=20, progress=reports.append)
    assert [report.prompts for report in reports] == sorted(report.prompts for report in reports)
    last = reports[-1]
    assert (last.prompts, last.all_prompts) == (9, 9)
    assert last.tokens == last.all_tokens == sum(map(len, prompts))
    assert last.eta_seconds == 0.0
    assert "9/9 prompts" in str(last)


def test_progress_calls_signals_as_their_caller_does(policy, problems, prompts):
    reports = []
    signals = {"angle": AngleSignal(), "angle_intra": AngleSignal(inter=0.0), "angle_again": AngleSignal()}
    extract(signals, problems, prompts, policy, progress=reports.append)
    assert reports[0].signals == ("angle", "angle_intra")  # what is the same is measured once, under its first name


def test_ranks_share_the_work_and_agree(problems, prompts, tmp_path):
    """Both ranks run one after the other: the first sees its own share only, the second brings both together."""
    policy = build_policy(ARCHITECTURES["qwen2"]())
    expected = extract({"angle": AngleSignal()}, problems, prompts, policy).values["angle"]
    shares = {}

    def run(rank):
        def gather(array):
            shares.setdefault(rank, []).append(array)
            place = len(shares[rank]) - 1
            return [shares[other][place] for other in sorted(shares)]

        return extract({"angle": AngleSignal()}, problems, prompts, policy, rank=rank, world_size=2, gather=gather)

    first = run(0).values["angle"]
    assert 4 <= np.isnan(first).sum() <= 5
    np.testing.assert_allclose(run(1).values["angle"], expected, atol=1e-6)


def test_prompts_beyond_the_context_are_dropped_and_counted(policy, problems, prompts):
    policy.model.config.max_position_embeddings = 25
    lengths = np.array([len(prompt) for prompt in prompts])
    result = extract({"angle": AngleSignal(), "length": LengthSignal()}, problems, prompts, policy)
    assert result.dropped == (lengths > 25).sum() > 0
    np.testing.assert_array_equal(np.isnan(result.values["angle"]), lengths > 25)
    assert result.overlong_rows == tuple(np.flatnonzero(lengths > 25))
    assert not np.isnan(result.values["length"]).any()


def test_truncation_takes_the_front_of_the_question(policy, problems, prompts):
    policy.model.config.max_position_embeddings = 25
    result = extract({"angle": AngleSignal()}, problems, prompts, policy, overlong="truncate")
    assert (result.dropped, result.truncated) == (0, 2)
    row = result.overlong_rows[0]
    prompt, start = prompts[row], prompts[row].question[0]
    excess = len(prompt) - 25
    short = PromptTokens(prompt.ids[:start] + prompt.ids[start + excess :], {"question": (11, 22), "closing": (22, 25)})
    expected = AngleSignal().compute([problems[row]], [short], policy)
    assert result.values["angle"][row] == pytest.approx(expected[0], abs=1e-5)


def test_truncated_prompts_keep_prefix_end_and_closing():
    prompt = PromptTokens(tuple(range(10)), {"system": (0, 3), "question": (3, 8), "closing": (8, 10)})
    fitted = fit_prompts([prompt], 7, "truncate")
    assert fitted.prompts[0].ids == (0, 1, 2, 6, 7, 8, 9)
    assert fitted.prompts[0].segments == {"system": (0, 3), "question": (3, 5), "closing": (5, 7)}
    assert fit_prompts([prompt], 5, "truncate").dropped.tolist() == [True]  # no token of the question would be left
    assert fit_prompts([prompt], 10, "drop", reserve=np.array([1])).dropped.tolist() == [True]
    assert fit_prompts([prompt], None, "drop").prompts[0] is prompt
    with pytest.raises(ValueError, match="overlong=drop"):
        fit_prompts([prompt], 5, "cut")


def test_the_weights_hash_sees_names_shapes_types_and_values():
    def model(**change):
        layer = torch.nn.Linear(2, 3, bias=False)
        with torch.no_grad():
            layer.weight.copy_(torch.arange(6.0).reshape(3, 2))
        return torch.nn.ModuleDict({change.get("name", "a"): layer.to(change.get("dtype", torch.float32))})

    other = model()
    with torch.no_grad():
        other["a"].weight[2, 1] = torch.nextafter(torch.tensor(5.0), torch.tensor(6.0))
    hashes = [weights_hash(m) for m in (model(), model(name="b"), model(dtype=torch.bfloat16), other)]
    assert len(set(hashes)) == 4
    assert weights_hash(model()) == hashes[0]


def test_parts_of_a_store_add_up(tmp_path):
    store = ValueStore(tmp_path, "key")
    assert store.load() is None
    store.add_part(np.array([4, 2]), np.array([0.5, np.nan]))
    store.add_part(np.array([0]), np.array([1.5]))
    values, known = store.load_parts(5)
    np.testing.assert_array_equal(values, [1.5, np.nan, np.nan, np.nan, 0.5])
    assert known.tolist() == [True, False, True, False, True]


def test_calls_that_cannot_work_are_refused(policy, problems, prompts):
    with pytest.raises(ValueError, match="tokens of every problem"):
        extract({"angle": AngleSignal()}, problems, prompts[:-1], policy)
    with pytest.raises(ValueError, match="needs gather"):
        extract({"angle": AngleSignal()}, problems, prompts, policy, world_size=2)
    with pytest.raises(ValueError, match="model="):
        extract({"angle": AngleSignal()}, problems, prompts)


def test_values_of_one_precision_are_not_taken_for_those_of_another(policy, problems, prompts, tmp_path):
    signals = {"angle": AngleSignal(), "perplexity": PerplexitySignal()}
    exact = extract(signals, problems, prompts, policy, cache_dir=tmp_path).values
    with torch.autocast("cpu", torch.bfloat16):
        mixed = extract(signals, problems, prompts, policy, cache_dir=tmp_path).values
    for name in signals:
        assert not np.array_equal(exact[name], mixed[name])
        np.testing.assert_allclose(mixed[name], exact[name], rtol=0.05)
