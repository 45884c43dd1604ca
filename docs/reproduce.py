"""Writes docs/reproduce.md from the tables of experiments/README.md: python docs/reproduce.py"""

from __future__ import annotations

import math
from pathlib import Path
from statistics import NormalDist

import yaml

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "reproduce.md"
OPENING = """# Reproducing the paper

Every table and figure of GAIN-RL ([arXiv 2506.02281](https://arxiv.org/abs/2506.02281)): the command, the paper's
value, and ours. **[a]** is the paper's abstract. **[s1]** and **[s2]** are known at second hand only, a claim about
a claim: [s1] from the newsletter The Batch of deeplearning.ai, [s2] from a survey note on GitHub (neither the issue
nor the note's address was kept). *Not known* means that no source gives it. *Ours* is filled from runs only. This
page is written by `python docs/reproduce.py` from [the table of experiments](../experiments/README.md), and a test
keeps the two together.
"""
CELLS = """
## Commands

A cell is a comparison of arms on the same seeds, and `gainrl-report` reads the answer off them:

```
{commands}
```

Add `--dry-run` to see what it costs. The four comparisons on GSM8K share a folder, and their report corrects over all
of their arms; every other cell has its own:

```
gainrl-report runs/sweeps/experiment-gsm8k_0.5b,baseline --targets 0.95 1.0
```

AdaRFT needs a difficulty per problem, the share of failed attempts in percent. The DeepScaleR file of a data folder
has one for 29,724 of 35,107 problems; the others never train unless `curriculum.unlabelled=100` counts them as
hardest. The levels of MATH and the grades of AMC and AIME are in another unit, and GSM8K has neither. On all of these
`baseline=adarft` measures the model's own pass rates before training, with eight completions for each problem.

The paper's "speed-up" is the ratio in the report's table of budgets to a target: epochs are counted as prompts
there, and it gives the same ratio in generated tokens and in wall time, which need not agree.

`<name>_embedded` runs the same arms on the embedded model: no data to fetch, minutes per run on a CPU. It stands
beside the paper's cell and does not reproduce it: the models have 0.1 to 0.3 million parameters, and the problems are
generated sums (for `deepcoder_3b_embedded`, small programs) whatever the name says. [The results](results.md) of most
of these runs are from one base each.

The ablations' arms as experiments of their own (`experiment=ablation_full,ablation_intra` with `-m`) are compared
by `gainrl-report runs/sweeps/experiment --arms experiment --reference ablation_full`. Ablations over many seeds:
`gainrl-train sweep=angle_terms`, `sweep=update_terms` and `sweep=sampler`, each with `experiment=...` for another
cell.

## How many seeds

The paper gives no number of seeds and no error bars that we know of. Another study published its scores seed by
seed (DataFlex-RL, [arXiv 2609.06107](https://arxiv.org/abs/2609.06107), 171 of its runs), and from them the
standard deviation of a method's difference to GRPO on the same seed can be had. With it, the pairs that show a
difference with 80% power at 5%, uncorrected, are 7.85 (deviation / difference)², rounded up:

| model, test set | deviation, points | pairs for 1 point | pairs for 2 points | ten pairs show |
|---|---|---|---|---|
{spreads}

So ten seeds, as in the commands above, are too few to detect a difference of one point at 0.5B. They are enough for
the 4.72 points claimed for GSM8K [s2]. In that study all eight methods ended below GRPO on GSM8K at 0.5B.
`gainrl-report DIR --power` gives the number for your own pilot's spread.
"""
SUITES = """Runs of the main table score these sets, each as `eval/<set>/accuracy` of `metrics.csv`
(`gainrl-report --metric eval/math500/accuracy`): {math}.
Runs of the code table: {code}. Of the {cells} cells of accuracy that three models, {sets} sets and
three arms make, one is known: GSM8K with the 7B model.
"""
# Model and test set, and the standard deviation over seeds of a method's score less GRPO's, in points (DataFlex-RL).
SPREADS = (
    ("Qwen2.5-0.5B-Instruct, GSM8K", 1.47),
    ("Qwen2.5-0.5B-Instruct, MATH-500", 2.03),
    ("a 7B model, GSM8K", 1.04),
    ("a 7B model, MATH-500", 0.92),
)

FIGURES_OPENING = (
    "`run=DIR` is a finished run's directory; it carries its own model and data. Without `model=` and `dataset=` the "
    "embedded model is drawn."
)

# Artefact, its arms, and the experiments that make it.
TABLES = (
    (
        "main table, mathematics",
        "vanilla_grpo,adarft,gain_rl_ranks",
        ("deepscaler_1.5b", "deepscaler_3b", "deepscaler_7b"),
    ),
    ("single-task table", "vanilla_grpo,adarft,gain_rl", ("gsm8k_0.5b",)),
    ("single-task table", "vanilla_grpo,adarft,gain_rl", ("math_0.5b",)),
    ("single-task table", "vanilla_grpo,adarft,gain_rl_ranks", ("amc_0.5b",)),
    ("code table", "vanilla_grpo,gain_rl_ranks", ("deepcoder_3b",)),
    ("half-data table", "vanilla_grpo,half_data_angle,half_data_random", ("half_data",)),
    ("PPO table", "ppo,gain_rl_ppo", ("ppo",)),
)

# Ablation, its arms, each with the experiment that is the same run under a name of its own.
ABLATIONS = (
    (
        "signal",
        {
            "gain_rl": "ablation_full",
            "angle_intra": "ablation_intra",
            "angle_inter": "ablation_inter",
            "vanilla_grpo": "ablation_uniform",
        },
    ),
    ("update", {"gain_rl": "ablation_full", "accuracy_only": "ablation_accuracy", "angle_only": "ablation_angle"}),
    (
        "sampler",
        {"gain_rl": "ablation_full", "strict_angle": "ablation_strict_order", "vanilla_grpo": "ablation_uniform"},
    ),
)
SEEDS = "'seed=range(0,10)'"

# Figure, what the paper reads off it, and what draws it here.
FIGURES = (
    (
        "overview of the three steps",
        "no data",
        "`gainrl-train` (a run's `curves.png` shows the window over the ranked pool)",
    ),
    (
        "angle maps by layer",
        "blocks of the segments, sharper with depth; segments approach each other later",
        "`gainrl-observe figures=[maps] model=qwen2.5_0.5b_instruct dataset=gsm8k template=paper data_dir=DIR`",
    ),
    ("C_intra and C_inter by epoch", "both rise", "`gainrl-observe figures=[epochs] run=DIR`"),
    (
        "accuracy by quartile of the angle",
        "concentrated prompts are learnt first",
        "`gainrl-observe figures=[quartiles] run=DIR` on a run of `baseline=vanilla_grpo`",
    ),
    (
        "neuron activations",
        "they converge to a cluster, and prompts far from it have lower accuracy",
        "not drawn: no source says which neurons, or which distance",
    ),
    (
        "angle against gradient norm",
        "positive correlation",
        "`gainrl-observe figures=[gradients] model=qwen2.5_0.5b_instruct dataset=gsm8k template=paper data_dir=DIR`",
    ),
    (
        "accuracy of one data set under several models",
        "what is hard depends on the model",
        "`gainrl-rank dataset=gsm8k reward=math template=paper model=qwen2.5_0.5b_instruct "
        "signal@others.pass_rate=pass_rate data_dir=DIR`, and again with another `model=`",
    ),
    (
        "training curves of the arms",
        "GRPO's accuracy at epoch 200 after 70 to 80 [s1]",
        "`gainrl-report runs/sweeps/experiment-gsm8k_0.5b,baseline`, figure 1",
    ),
    (
        "centre, accuracy and angle by epoch",
        "the centre moves on as both rise",
        "`gainrl-report runs/sweeps/experiment-gsm8k_0.5b,baseline`, diagnostics; a run's `curves.png`",
    ),
)


def stated() -> dict[str, dict[str, str]]:
    """Experiment to the cells of its row in experiments/README.md, by the heads of their columns."""
    rows: dict[str, dict[str, str]] = {}
    heads: list[str] = []
    for line in (ROOT / "experiments" / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            heads = []
        elif not heads:
            heads = cells
        elif cells[0].startswith("`") and heads[0] == "experiment":
            rows[cells[0].strip("`")] = dict(zip(heads, cells, strict=True))
    return rows


def command(name: str, arms: str) -> str:
    # The training problems of DeepCoder are on the hub only; what is in DIR are the evaluation sets.
    data = "data_dir=DIR dataset.data_dir=null" if name == "deepcoder_3b" else "data_dir=DIR"
    return f"gainrl-train -m experiment={name} baseline={arms} {SEEDS} {data}"


def spread_rows() -> list[str]:
    factor = (NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)) ** 2
    return [
        f"| {name} | {spread:.2f} | {math.ceil(factor * spread**2)} | {max(2, math.ceil(factor * (spread / 2) ** 2))} "
        f"| {math.sqrt(factor / 10) * spread:.1f} points |"
        for name, spread in SPREADS
    ]


def page() -> str:
    rows = stated()
    commands: list[str] = []
    lines = ["## Tables", "", "| artefact | experiment | paper | ours |", "|---|---|---|---|"]
    for artefact, arms, names in TABLES:
        for name in names:
            paper = rows[name].get("published", "not known")
            commands.append(command(name, arms))
            lines.append(f"| {artefact} | `{name}` | {paper} | {rows[name]['ours']} |")
    for artefact, same in ABLATIONS:
        commands.append(command("gsm8k_0.5b", ",".join(same)))
        named = ", ".join(f"`{name}`" for name in same.values())
        ours = "; ".join(dict.fromkeys(rows[name]["ours"] for name in same.values()))
        lines.append(f"| ablation: {artefact} | {named} | not known | {ours} |")
    suites = {
        name: list(yaml.safe_load((ROOT / "conf" / "eval" / f"{name}_suite.yaml").read_text())["sets"])
        for name in ("math", "code")
    }
    sets = {name: ", ".join(f"`{one}`" for one in found) for name, found in suites.items()}
    count = len(suites["math"])
    lines += ["", SUITES.format(**sets, sets=count, cells=3 * 3 * count)]
    lines += [CELLS.format(commands="\n".join(commands), spreads="\n".join(spread_rows())).lstrip()]
    lines += ["## Figures", "", FIGURES_OPENING, ""]
    lines += [f"- **{figure}** ({claim}): {drawn}" for figure, claim, drawn in FIGURES]
    lines += ["", "What the embedded runs show of these claims, on one base: see the [results](results.md).", ""]
    return "\n".join([OPENING, *lines])


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
