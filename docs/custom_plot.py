"""From a finished sweep to a plot of one's own: python docs/custom_plot.py runs/sweeps/baseline arms.png"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt

from gainrl.report.reader import read_runs
from gainrl.report.series import score_curves
from gainrl.report.sweep import Settings, make_sweep

sweep = make_sweep(read_runs([Path(sys.argv[1])]), Settings())
for curve in score_curves(sweep, "generated_tokens", task=sweep.tasks[0]):
    plt.fill_between(curve.budgets, curve.low, curve.high, alpha=0.15)
    plt.plot(curve.budgets, curve.middle, label=f"{curve.label} ({len(curve.runs)} seeds)")
plt.xlabel("generated tokens")
plt.ylabel("held-out accuracy")
plt.legend(frameon=False)
plt.savefig(sys.argv[2], dpi=200)
