"""What a record says about the code that made it: versions of packages, and the commit."""

from __future__ import annotations

import importlib.metadata
import subprocess
from pathlib import Path

from modicum import __version__

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-learn", "pillow")


def versions() -> dict[str, str | None]:
    """Versions of modicum and of the packages its numbers depend on; None for one that is not installed."""
    return {"modicum": __version__, **{package: _version(package) for package in PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit this package runs from ("-dirty" where files were changed), None where it is installed or git is absent."""
    folder = Path(__file__).parent
    if not (folder.parents[2] / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
