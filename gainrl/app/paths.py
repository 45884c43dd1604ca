"""Where the configuration lies."""

from __future__ import annotations

from pathlib import Path


def config_dir() -> Path:
    """Beside the package in a checkout, inside it in an installed wheel."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "conf"
    return checkout if (checkout / "config.yaml").exists() else package / "conf"
