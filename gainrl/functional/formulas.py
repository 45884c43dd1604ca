"""The effective objective as text, and the settings that have no effect in it.

Aggregation and normalisation are where implementations of "the same" algorithm differ most and report least, so a run
prints and stores what it really computes.
"""

from __future__ import annotations

from gainrl.functional.advantages import AdvantageSettings
from gainrl.functional.objectives import Objective
from gainrl.functional.values import ValueSettings

_AGGREGATES = {
    "sequence_mean": "1/S Σ_i 1/L_i Σ_t",
    "token_mean": "1/N Σ_i Σ_t",
    "constant": "1/(S·T) Σ_i Σ_t",
    "sequence_sum": "1/S Σ_i Σ_t",
}
_COUNTS = {
    "sequence_mean": "S completions of the optimizer step, L_i tokens of completion i",
    "token_mean": "N tokens of the optimizer step",
    "constant": "S completions of the optimizer step, T limit on the tokens of a completion",
    "sequence_sum": "S completions of the optimizer step",
}


def describe(objective: Objective, advantage: AdvantageSettings, value: ValueSettings | None = None) -> str:
    """The loss that one optimizer step minimises and its advantages, one formula per line.

    ``value``: settings of the critic of PPO, None without one.
    ``lp``, ``lo``, ``lr``: log-probability under the current, the sampling and the reference policy; ``r`` reward.
    """
    terms = [_policy_text(objective)]
    if objective.beta > 0 and objective.kl_placement == "loss":
        weight = f"{_rho(objective)}·" if objective.kl_ratio_corrected else ""
        terms.append(f"+ {objective.beta:g}·{weight}{objective.kl_estimator}")
    if objective.entropy_coefficient > 0:
        terms.append(f"- {objective.entropy_coefficient:g}·H_t")
    lines = [
        f"loss = {_AGGREGATES[objective.aggregation]} [ {' '.join(terms)} ]",
        f"  {_COUNTS[objective.aggregation]}",
    ]
    if objective.ratio == "token":
        lines.append("  ρ_t = exp(lp_t - lo_t)")
    else:
        lines.append("  ρ_i = exp(mean_t(lp_t - lo_t))")
    if objective.beta > 0:
        formula = {"k1": "d", "k2": "d²/2", "k3": "exp(-d) - 1 + d"}[objective.kl_estimator]
        first = "lp" if objective.kl_placement == "loss" else "lo"
        lines.append(f"  {objective.kl_estimator} = {formula}, d = {first}_t - lr_t")
    if value is not None:
        lines[0] += f" + {value.coefficient:g}·L_V"
        lines[1] += "" if "N tokens" in lines[1] else "; N tokens of the optimizer step"
        return "\n".join([*lines, *_critic_lines(objective, advantage, value)])
    return "\n".join([*lines, *_advantage_lines(objective, advantage)])


def _rho(objective: Objective) -> str:
    return "ρ_t" if objective.ratio == "token" else "ρ_i"


def _policy_text(objective: Objective) -> str:
    rho = _rho(objective)
    low, high = objective.bounds
    if objective.clip == "none":
        return f"-{rho}·A"
    if objective.clip == "cispo":
        weight = f"min({rho}, {high:g})" if low == -float("inf") else f"clip({rho}, {low:g}, {high:g})"
        return f"-sg[{weight}]·A·lp_t"
    clipped = f"clip({rho}, {low:g}, {high:g})·A"
    if objective.clip == "two_sided":
        return f"-min(min({rho}, {objective.delta:g})·A, {clipped})"
    text = f"-min({rho}·A, {clipped})"
    if objective.clip == "dual":
        return f"{text} (at most -{objective.delta:g}·A where A < 0)"
    return text


def _advantage_lines(objective: Objective, advantage: AdvantageSettings) -> list[str]:
    in_reward = objective.beta > 0 and objective.kl_placement == "reward"
    penalty = f"{objective.beta:g}·{objective.kl_estimator}"
    centred = {
        "mean": "r_i - mean(r)",
        "leave_one_out": "r_i - mean(r_j, j≠i)",
        "none": "r_i",
        "tracker": "r_i - v",
    }[advantage.baseline]
    ddof = f"ddof={advantage.ddof}"
    if advantage.scale == "tokens":
        costs = f" - Σ_s≥t {penalty}_s" if in_reward else ""
        lines = [
            f"R_t = {centred}{costs}",
            f"A_t = (R_t - mean R) / (std R + {advantage.eps:g}), mean and std over all tokens of the step, {ddof}",
        ]
    else:
        reward = [f"r_i = reward_i - Σ_t {penalty}_t"] if in_reward else []
        scope = {"group": "std(r)", "batch": "std(r of the whole step)"}.get(advantage.scale)
        formula = f"({centred}) / ({scope} + {advantage.eps:g}), {ddof}" if scope else centred
        if advantage.baseline == "tracker" and advantage.scale == "batch":
            formula = f"(a_i - mean a) / (std a + {advantage.eps:g}) over the whole step, a_i = {centred}, {ddof}"
        lines = [*reward, f"A_i = {formula}"]
    if advantage.baseline == "tracker":
        lines.append("  v the value of the prompt that the curriculum tracked before the step")
    # Whitening shifts every token by the mean over the step, those of constant groups included.
    if advantage.compares and advantage.scale != "tokens":
        lines.append("  exactly 0 in groups whose rewards are all equal")
    return lines


def _critic_lines(objective: Objective, advantage: AdvantageSettings, value: ValueSettings) -> list[str]:
    """The advantages of PPO: ``V`` is the value under the current, ``Vo`` under the sampling policy."""
    square = "(V_t - R_t)²"
    if value.epsilon is not None:
        square = f"max({square}, (clip(V_t, Vo_t ± {value.epsilon:g}) - R_t)²)"
    in_reward = objective.beta > 0 and objective.kl_placement == "reward"
    penalty = f" - {objective.beta:g}·{objective.kl_estimator}_t" if in_reward else ""
    lines = [
        f"L_V = 1/N Σ_i Σ_t {square} / 2, R_t = Â_t + Vo_t",
        f"Â_t = δ_t + {value.gamma * value.lam:g}·Â_(t+1), δ_t = r_t + {value.gamma:g}·Vo_(t+1) - Vo_t",
        f"  r_t = reward at the last token, 0 before{penalty}",
    ]
    if advantage.scale == "tokens":
        scaled = f"(Â_t - mean Â) / (std Â + {advantage.eps:g})"
        return [*lines, f"A_t = {scaled}, mean and std over all tokens of the step, ddof={advantage.ddof}"]
    return [*lines, "A_t = Â_t"]


def ineffective_knobs(
    objective: Objective, advantage: AdvantageSettings, *, updates_per_rollout: int | None = None
) -> list[str]:
    """Settings that change nothing in this combination, one sentence each; empty where every setting counts.

    ``updates_per_rollout``: optimizer steps taken on each batch of completions (inner epochs times mini-batches), None
    where unknown. With one of them the sampling policy is the current one, so every ratio is 1.
    """
    remarks = []
    clip = objective.clip
    if clip == "none" and objective.epsilon is not None:
        remarks.append("objective.epsilon has no effect with objective.clip=none")
    if clip in ("none", "symmetric") and objective.epsilon_high is not None:
        remarks.append(f"objective.epsilon_high has no effect with objective.clip={clip}")
    if clip not in ("two_sided", "dual") and objective.delta is not None:
        remarks.append(f"objective.delta has no effect with objective.clip={clip}")
    if clip == "higher" and objective.epsilon == objective.epsilon_high:
        remarks.append("objective.clip=higher with equal epsilon and epsilon_high is objective.clip=symmetric")
    if objective.beta == 0:
        remarks.append("objective.kl_estimator and objective.kl_placement have no effect with objective.beta=0")
        if objective.kl_ratio_corrected:
            remarks.append("objective.kl_ratio_corrected has no effect with objective.beta=0")
    elif objective.kl_placement == "reward" and objective.kl_ratio_corrected:
        remarks.append("objective.kl_ratio_corrected has no effect with objective.kl_placement=reward")
    if advantage.scale == "none":
        remarks.append("advantage.ddof and advantage.eps have no effect with advantage.scale=none")
    if updates_per_rollout == 1:
        remarks.extend(_on_policy_remarks(objective, advantage))
    return remarks


def _on_policy_remarks(objective: Objective, advantage: AdvantageSettings) -> list[str]:
    remarks = []
    why = "with one update per batch of completions every ratio is 1"
    if objective.clip != "none":
        remarks.append(f"objective.clip={objective.clip} has no effect: {why}")
    # The tokens of a completion share one advantage, so the sum over them of A rho_i and of A rho_t have one gradient.
    if objective.ratio == "sequence" and advantage.scale != "tokens" and not objective.kl_ratio_corrected:
        remarks.append(f"objective.ratio=sequence has the gradient of objective.ratio=token: {why}")
    in_loss = objective.beta > 0 and objective.kl_placement == "loss"
    if in_loss and objective.kl_estimator == "k1" and not objective.kl_ratio_corrected:
        remarks.append(
            "objective.kl_estimator=k1 in the loss has an expected gradient of zero on-policy; use k2, or "
            "objective.kl_ratio_corrected=true, or objective.kl_placement=reward"
        )
    return remarks
