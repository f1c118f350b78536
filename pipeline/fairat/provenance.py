"""What a result remembers about where it came from."""

import platform
import subprocess
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
