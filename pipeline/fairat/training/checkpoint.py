"""What a training leaves: weight sets with their provenance, histories, and the state to resume from."""

import csv
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fairat import sealed
from fairat.errors import Hint, UserError
from fairat.files import sha256_of, whole_file
from fairat.methods.history import ClassHistory
from fairat.training.loop import TrainingState

RESUME_FILE = "state.pt"


def save_weights(path: Path, state: Mapping[str, Tensor], origin: Mapping[str, Any]) -> str:
    """Writes one weight set as safetensors with its origin in the metadata; returns the sha256 of the file."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    with whole_file(path) as beside:
        save_file(tensors, beside, metadata={"origin": json.dumps(origin, sort_keys=True)})
    return sha256_of(path)


def load_weights(path: Path, model: nn.Module, sha256: str | None = None) -> dict[str, Any]:
    """Loads a weight set into a model of the same architecture; returns its origin.

    Args:
        path: of the file.
        model: of the same architecture.
        sha256: of the file, as the run's record names it; verified where given.

    Raises:
        UserError: the file is missing, is no safetensors file, belongs to another architecture, or is not the one that
            the record names.
    """
    try:
        if sha256 is not None and (found := sha256_of(path)) != sha256:
            raise UserError(
                f"{path} is damaged or was replaced: its SHA-256 is {found[:16]}..., but {path.parent}/run.json names "
                f"{sha256[:16]}.... Delete {path.parent}.",
                Hint.REMAKE,
            )
        model.load_state_dict(load_file(path))
        with safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {}).get("origin", "{}"))
    except FileNotFoundError:
        raise UserError(f"There are no weights at {path}. Train the run first.", Hint.MAKE) from None
    except SafetensorError as error:
        raise UserError(f"{path} is not a safetensors file ({error}). Delete it and train the run again.") from None
    except RuntimeError as error:
        raise UserError(
            f"{path} does not fit the suite's architecture: {str(error).splitlines()[-1].strip()} "
            "Train the run again with the architecture that params.yaml names now."
        ) from None


class Saver:
    """Saves the state of a training after every epoch, beside the next one; a context, at whose end all is saved.

    Args:
        directory: of the resume state.
        identity: names the code, data and settings that the state belongs to.
        conditions: under which it was computed, see `fairat.device.conditions`.
    """

    def __init__(self, directory: Path, identity: str, conditions: Mapping[str, str]) -> None:
        self.directory, self.identity, self.conditions = directory, identity, dict(conditions)
        self.thread, self.writing = ThreadPoolExecutor(1), Future[None]()
        self.writing.set_result(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.shutdown()

    def __call__(self, state: TrainingState) -> None:
        """Takes a copy of the state, and writes it while the caller goes on.

        Raises:
            UserError: the disk was full for the state before this one.
        """
        self.wait()
        content = sealed.packed(resumable(state, self.identity, self.conditions))
        self.writing = self.thread.submit(sealed.write, self.directory / RESUME_FILE, content, keep_previous=True)

    def wait(self) -> None:
        """Returns when the last state is on the disk; UserError if that was full."""
        self.writing.result()


def resumable(state: TrainingState, identity: str, conditions: Mapping[str, str]) -> dict[str, Any]:
    """Everything that a killed training needs."""
    return {
        "identity": identity,
        "conditions": dict(conditions),
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "averages": state.averages.sets,
        "best_score": state.averages.best_score,
        "history": state.history.to_tensors(),
        "reports": state.reports,
        "radii": state.radii,
        "seconds": state.seconds,
    }


def load_resumable(directory: Path, state: TrainingState, identity: str) -> dict[str, str] | None:
    """Takes up a killed training if its state is there, whole, and belongs to the same code, data and settings.

    Where the last state is damaged, this is said, and the one before it is taken up.

    Returns:
        The conditions under which the state was computed; None if there is none to take up.
    """
    device = next(state.model.parameters()).device
    for saved in sealed.read(directory / RESUME_FILE, "the epochs since the state before it", device):
        if saved["identity"] == identity:
            _take_up(saved, state)
            return saved["conditions"]
    return None


def _take_up(saved: Mapping[str, Any], state: TrainingState) -> None:
    state.model.load_state_dict(saved["model"])
    state.optimizer.load_state_dict(saved["optimizer"])
    state.averages.sets, state.averages.best_score = saved["averages"], saved["best_score"]
    history = {name: value.cpu() for name, value in saved["history"].items()}
    state.history = ClassHistory.from_tensors(state.history.num_classes, history)
    state.reports, state.radii = saved["reports"], [radii.cpu() for radii in saved["radii"]]
    state.seconds = saved["seconds"]


def save_history(directory: Path, state: TrainingState, class_names: Sequence[str]) -> dict[str, str]:
    """Writes history.csv (a row per epoch), classes.csv (a row per epoch and class) and the class history itself.

    Returns:
        The sha256 of each file.
    """
    with whole_file(directory / "history.csv") as beside:
        _write_rows(beside, state.reports)
    with whole_file(directory / "classes.csv") as beside:
        _write_rows(beside, list(_class_rows(state, class_names)))
    with whole_file(directory / "history.safetensors") as beside:
        save_file({name: value.contiguous() for name, value in state.history.to_tensors().items()}, beside)
    return {name: sha256_of(directory / name) for name in ("history.csv", "classes.csv", "history.safetensors")}


def _class_rows(state: TrainingState, class_names: Sequence[str]) -> list[dict[str, Any]]:
    records = [record for record in state.history.records if record.epoch >= 0]
    rows = []
    for record, radii in zip(records, state.radii, strict=True):
        counts = record["train.robust"]
        accuracy = counts.diagonal() / counts.sum(dim=1)
        for number, name in enumerate(class_names):
            rows.append(
                {
                    "epoch": record.epoch,
                    "class_name": name,
                    "epsilon": float(radii[number]),
                    "train_robust_accuracy": float(accuracy[number]),
                }
            )
    return rows


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        columns = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
