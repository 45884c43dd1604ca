"""Where the jobs of a multirun go: arms named by what differs between them, in a folder named by what they share.

``-m experiment=gsm8k_0.5b baseline=gain_rl,vanilla_grpo seed=0,1`` runs in
``runs/sweeps/experiment-gsm8k_0.5b,baseline/baseline-gain_rl/s0``: values that are added to a swept setting go into the
same folder, another shared setting makes another. A sweep file's folder begins with its name, which stands for all that
the file fixes. An experiment stays in the names of its arms, so that one folder can hold its cells. With
``hydra.sweep.dir`` typed, names are full.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from gainrl.app.commandline.settings import Setting, quoted, read_setting
from gainrl.report.plan import arm_name

_PLACES = ("hydra.sweep.dir", "hydra.sweep.subdir", "hydra/sweeper")


def sweep_places(settings: Sequence[Setting], config: DictConfig) -> list[str]:
    """Overrides of Hydra's own node that name the folders of a multirun; none where the user has named them."""
    sweeper = OmegaConf.to_container(config.hydra.sweeper, resolve=False)
    assert isinstance(sweeper, dict)
    if any(one.key in _PLACES for one in settings) or "n_trials" in sweeper:
        return []
    naming = config.hydra.job.config.override_dirname
    left_out = list(naming.exclude_keys)
    of_file = [read_setting(f"{key}={value}", multirun=True) for key, value in (sweeper.get("params") or {}).items()]
    by_file = [one.key for one in of_file]
    typed = [one for one in settings if one.key not in left_out and not one.key.startswith("hydra")]
    shared = [one for one in of_file if not one.sweeps and one.key not in {other.key for other in typed}]
    swept = sorted(
        {*(one.key for one in typed if one.sweeps), *(key for key in by_file if key not in left_out)}
        - {one.key for one in shared}
    )
    name = config.hydra.runtime.choices.get("sweep")
    fixed = [
        one for one in typed if not one.sweeps and one.key not in by_file and not (name and one.key == "experiment")
    ]
    if not swept:  # the seeds of one arm, which is named by all that was typed
        return [_folder(arm_name(_joined(fixed, naming)) if not name else str(name))]
    hidden = [key for one in [*fixed, *shared] for key in (one.key, f"++{one.key}", f"+{one.key}")]
    parts = [*([str(name)] if name else []), *_texts(fixed, naming), *([] if name else swept)]
    shortened = [f"hydra.job.config.override_dirname.exclude_keys=[{','.join([*left_out, *hidden])}]"] if hidden else []
    return [_folder(arm_name(",".join(parts))), *shortened]


def _folder(name: str) -> str:
    text = str(Path("runs/sweeps") / name)
    return f"hydra.sweep.dir={quoted(text) if ',' in text else text}"  # else a comma would separate two values


def _texts(settings: Sequence[Setting], naming: DictConfig) -> list[str]:
    return sorted(f"{one.sign.strip('+')}{one.key}{naming.kv_sep}{one.value}" for one in settings)


def _joined(settings: Sequence[Setting], naming: DictConfig) -> str:
    return ",".join(_texts(settings, naming))
