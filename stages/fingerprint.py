"""Writes what every stage depends on besides its files: one small file per stage and suite (or run)."""

from fairat import paths
from fairat.dependencies import contents
from fairat.files import whole_directory


def main() -> None:
    """Writes fingerprints/, whole."""
    with whole_directory(paths.FINGERPRINTS) as beside:
        for name, text in contents():
            path = beside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
