"""One package under two names: RobustBench imports `autoattack`, the package index offers `pyautoattack`."""

import sys
from importlib.util import find_spec


def alias_autoattack() -> None:
    """Makes pyautoattack importable as `autoattack`; call it before importing robustbench. Calling again does nothing.

    An installed `autoattack` is left alone.
    """
    if find_spec("autoattack") is not None:
        return
    import pyautoattack  # noqa: F401  # its submodules are in sys.modules from here on

    for name, module in list(sys.modules.items()):
        if name == "pyautoattack" or name.startswith("pyautoattack."):
            sys.modules["autoattack" + name.removeprefix("pyautoattack")] = module
