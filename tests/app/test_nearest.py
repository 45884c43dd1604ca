import pytest

from gainrl.app.nearest import did_you_mean, nearest

KEYS = [
    "optimizer",
    "optimizer.max_grad_norm",
    "optimizer.optimizer.lr",
    "model.warm_start.learning_rate",
    "algorithm.group_size",
]


@pytest.mark.parametrize(
    ("typed", "known", "meant"),
    [
        ("basline", ["baseline", "dataset", "eval"], "baseline"),
        ("gainrl", ["adarft", "gain_rl", "gain_rl_ppo"], "gain_rl"),
        ("gsm8k", ["math_0.5b", "gsm8k_0.5b_embedded", "gsm8k_0.5b"], "gsm8k_0.5b"),
        ("lr", KEYS, "optimizer.optimizer.lr"),
        ("optimizer.lr", KEYS, "optimizer.optimizer.lr"),
        ("algorithm.groupsize", KEYS, "algorithm.group_size"),
        ("Group-Size", ["group_size"], "group_size"),
        ("grpo", ["adarft", "gain_rl", "vanilla_grpo"], "vanilla_grpo"),
        ("epsilo", ["epsilon", "epsilon_high"], "epsilon"),
        ("reward", ["reward_std", "reward"], "reward"),
    ],
)
def test_the_name_that_was_meant_comes_first(typed, known, meant):
    assert nearest(typed, known)[0] == meant


@pytest.mark.parametrize("typed", ["zzz", "x", "", "---"])
def test_nothing_is_proposed_where_nothing_is_close(typed):
    assert nearest(typed, KEYS) == []


def test_every_known_name_is_nearest_to_itself():
    assert all(nearest(name, KEYS)[0] == name for name in KEYS)


def test_a_question_or_the_list():
    assert did_you_mean("widht", ["width", "alpha"], form="curriculum.{}=1") == "did you mean curriculum.width=1?"
    assert did_you_mean("zzz", ["width", "alpha"]) == "there are width, alpha"
    assert did_you_mean("zzz", map(str, range(20))).endswith("10, 11 and 8 more")
    assert did_you_mean("zzz", []) == "there are none"
