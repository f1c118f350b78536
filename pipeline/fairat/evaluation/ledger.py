"""What a killed evaluation has done: units of work, each in a file of its own, so that none is done twice."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairat import provenance, sealed
from fairat.evaluation.protocol import Recall, Result

_BEGUN = "begun.pt"
_LOST = "the predictions in it"


class Ledger:
    """The units of one evaluation of one run that are done, in a directory.

    Args:
        directory: of its own; emptied where it holds units of another identity.
        identity: all that decides the predictions: code, data, weights, settings.
        conditions: see `fairat.device.conditions`.

    Attributes:
        images: how much of the progress the units stand for that were there already.
        changed: what is different from the conditions under which these were computed; empty if nothing.
    """

    def __init__(self, directory: Path, identity: Mapping[str, Any], conditions: Mapping[str, str]) -> None:
        self.directory, self.units, self.changed = directory, dict[str, Any](), ""
        begun = {"identity": json.dumps(identity, sort_keys=True), "conditions": dict(conditions)}
        before = next(sealed.read(directory / _BEGUN, _LOST), None)
        if before is None or before["identity"] != begun["identity"]:
            shutil.rmtree(directory, ignore_errors=True)
            sealed.write(directory / _BEGUN, sealed.packed(begun))
        else:
            self.units = self._read()
            self.changed = provenance.differing(before["conditions"], conditions) if self.units else ""
        self.images = sum(unit["images"] for unit in self.units.values())

    def _read(self) -> dict[str, Any]:
        found = [unit for path in sorted(self.directory.glob("*.unit")) for unit in sealed.read(path, _LOST)]
        return {unit["name"]: unit for unit in found}

    def of(self, weights: str) -> Recall:
        """Looks up, or computes and keeps, the units of one weight set."""

        def recall(unit: str, images: float, compute: Result) -> Any:
            name = f"{weights}.{unit}"
            if name not in self.units:
                self.units[name] = {"name": name, "images": images, "content": compute()}
                sealed.write(self.directory / f"{name}.unit", sealed.packed(self.units[name]))
            return self.units[name]["content"]

        return recall

    def close(self) -> None:
        """Removes everything: the evaluation is done."""
        shutil.rmtree(self.directory, ignore_errors=True)
