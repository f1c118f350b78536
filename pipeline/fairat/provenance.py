"""What a result remembers about where it came from."""

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("torch", "torchvision", "numpy", "pyautoattack", "robustbench", "timm")


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that can change a number."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def differing(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Which conditions are others now: `threads 2 (now 1), torch 2.14.1 (now 2.15.0)`; empty if none."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(f"{name} {before.get(name, 'unknown')} (now {now.get(name, 'unknown')})" for name in names)


def commit() -> str:
    """The git commit of the working tree, with `+` behind it if files differ from it; empty outside a repository."""
    try:
        head = _git("rev-parse", "HEAD")
        # DVC rewrites its lock file after every stage: a change there is not a change of code or numbers.
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":!dvc.lock")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head + ("+" if changed else "")


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout.strip()
