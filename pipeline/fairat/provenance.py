"""What a result remembers about where it came from."""

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from fairat.errors import on_one_line
from fairat.progress import say

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
    """The git commit of the working tree, with `+` behind it if files differ from it; empty outside a repository.

    `unknown` where git refuses to look into the directory, for instance because it is another user's; says so.
    """
    try:
        head = _git("rev-parse", "HEAD")
        # DVC rewrites its lock file after every stage: a change there is not a change of code or numbers.
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":!dvc.lock")
    except OSError:
        return ""
    except subprocess.CalledProcessError as error:
        refusal = str(error.stderr).strip()
        if "not a git repository" in refusal or "ambiguous argument 'HEAD'" in refusal:
            return ""
        say(f"git does not tell the commit, so results name it as unknown. It says: {on_one_line(refusal)}")
        return "unknown"
    return head + ("+" if changed else "")


def _git(*words: str) -> str:
    command = ["git", *words]
    ended = subprocess.run(command, check=True, capture_output=True, encoding="utf-8", errors="replace")
    return ended.stdout.strip()
