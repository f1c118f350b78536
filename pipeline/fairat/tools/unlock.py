"""DVC keeps a list of the files that its running commands use; killed while it writes it, DVC refuses every later command."""

import json
from pathlib import Path

from fairat.progress import say

LIST = Path(".dvc/tmp/rwlock")


def clear() -> None:
    """Removes DVC's list where it is unreadable and no process is writing it; says so."""
    import zc.lockfile

    try:
        json.loads(LIST.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except ValueError:
        try:
            lock = zc.lockfile.LockFile(str(LIST.with_name(f"{LIST.name}.lock")))
        except zc.lockfile.LockError:
            return
        LIST.unlink(missing_ok=True)
        lock.close()
        say(f"{LIST} was unreadable, as a kill leaves it; it is removed.")
