"""Parts that would do nothing together are named before anything is loaded."""

import pytest

from gainrl.app.components import build_components, close_parts
from gainrl.app.errors import ConfigError
from tests.composition import composed


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (("baseline=vanilla_grpo", "allocation=knapsack"), True),  # 80 steps of 16 prompts, a pool of 1,562
        (("baseline=vanilla_grpo", "allocation=coba"), True),
        (("baseline=vanilla_grpo", "allocation=knapsack", "data_limit=256"), False),
        (("baseline=gain_rl_knapsack",), False),  # whose window draws the same prompts again
        (("baseline=vanilla_grpo", "allocation=speed"), False),
        (("baseline=vanilla_grpo", "allocation=fixed"), False),
    ],
)
def test_an_allocation_that_plans_by_earlier_visits_is_named_where_there_are_hardly_any(settings, named):
    components = build_components(composed("experiment=testbed", *settings))
    try:
        remarks = [one for one in components.findings if "data_limit" in one]
    finally:
        close_parts(components.engine, components.reward)
    assert len(remarks) == named
    assert all("type data_limit=256, or more" in remark for remark in remarks)


@pytest.mark.parametrize("optimizer", ["muon", "adamw_8bit"])
def test_an_optimizer_of_whole_tensors_is_refused_in_shards(optimizer):
    if optimizer == "adamw_8bit":
        pytest.importorskip("bitsandbytes", reason="needs pip install 'gainrl[bitsandbytes]'")
    with pytest.raises(ConfigError, match=f"optimizer={optimizer} .* type trainer=ddp, or optimizer=adamw"):
        build_components(composed("experiment=testbed", f"optimizer={optimizer}", "trainer=fsdp"))
    components = build_components(composed("experiment=testbed", f"optimizer={optimizer}", "trainer=ddp"))
    close_parts(components.engine, components.reward)
