"""Where things live: the configuration, and what is kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def config_dir() -> Path:
    """Beside the package in a checkout, inside it in an installed wheel."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "conf"
    return checkout if (checkout / "config.yaml").exists() else package / "conf"


def cache_dir() -> Path:
    """Where warm starts and signal values are kept: ``GAINRL_CACHE``, or ``gainrl`` in the user's cache folder."""
    given = os.environ.get("GAINRL_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "gainrl"
