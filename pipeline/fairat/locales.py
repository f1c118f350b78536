"""Text is UTF-8 on every machine, whatever its locale says: files, their names, and what is printed."""

import locale
import os
import sys


def ensure_utf8() -> None:
    """Starts this process anew in Python's UTF-8 mode where the locale is another one; its children are in it too."""
    if not sys.flags.utf8_mode and locale.getencoding().lower().replace("-", "") != "utf8":
        sys.stdout.flush()
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
