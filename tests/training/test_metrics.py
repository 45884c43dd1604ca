from gainrl.admission.refill import AdmitRefill
from gainrl.admission.top_variance import AdmitTopVariance
from gainrl.training.metrics import admission_metrics
from tests.admission.groups import passing


def test_rollouts_and_tokens_of_rejected_groups_are_wasted():
    admission, groups = AdmitRefill(), passing(0, 1, 4, 3)
    groups[0].lengths[:] = 50
    metrics = admission_metrics(admission, groups, admission.admit(groups, wanted=2, round_=0))
    assert metrics == {
        "admission/groups": 4,
        "admission/rejected_groups": 2,
        "admission/rollouts": 16,
        "admission/wasted_rollouts": 8,
        "admission/tokens": 4 * 50 + 12 * 10,
        "admission/wasted_tokens": 4 * 50 + 4 * 10,
        "admission/effective_prompt_ratio": 0.5,
    }


def test_completions_left_out_of_a_kept_group_are_wasted():
    admission, groups = AdmitTopVariance(keep_fraction=0.5), passing(2, 2)
    metrics = admission_metrics(admission, groups, admission.admit(groups, wanted=2, round_=0))
    assert (metrics["admission/wasted_rollouts"], metrics["admission/wasted_tokens"]) == (4, 40)
