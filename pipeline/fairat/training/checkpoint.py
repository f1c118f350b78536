"""What a training leaves: weight sets with their provenance, histories, and the state to resume from."""

import csv
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

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


def load_weights(path: Path, model: nn.Module) -> dict[str, Any]:
    """Loads a weight set into a model of the same architecture; returns its origin.

    Raises:
        UserError: the file is missing, is no safetensors file, or belongs to another architecture.
    """
    try:
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


def save_resumable(directory: Path, state: TrainingState, identity: str) -> None:
    """Saves everything a killed training needs; `identity` names the code, data and settings it belongs to."""
    with whole_file(directory / RESUME_FILE) as beside:
        torch.save(
            {
                "identity": identity,
                "model": state.model.state_dict(),
                "optimizer": state.optimizer.state_dict(),
                "averages": state.averages.sets,
                "best_score": state.averages.best_score,
                "history": state.history.to_tensors(),
                "reports": state.reports,
                "radii": state.radii,
                "seconds": state.seconds,
            },
            beside,
        )


def load_resumable(directory: Path, state: TrainingState, identity: str) -> bool:
    """Takes up a killed training if its state is there and belongs to the same code, data and settings.

    Raises:
        UserError: the state is there, but damaged.
    """
    path = directory / RESUME_FILE
    if not path.exists():
        return False
    # torch.load reads a changed byte as it is; the checksums of the archive tell.
    if not zipfile.is_zipfile(path) or zipfile.ZipFile(path).testzip():
        raise UserError(
            f"{path}, the state of a killed training, is damaged. Delete it: the training then begins anew."
        )
    device = next(state.model.parameters()).device
    saved = torch.load(path, map_location=device, weights_only=True)
    if saved["identity"] != identity:
        return False
    state.model.load_state_dict(saved["model"])
    state.optimizer.load_state_dict(saved["optimizer"])
    state.averages.sets, state.averages.best_score = saved["averages"], saved["best_score"]
    history = {name: value.cpu() for name, value in saved["history"].items()}
    state.history = ClassHistory.from_tensors(state.history.num_classes, history)
    state.reports, state.radii = saved["reports"], [radii.cpu() for radii in saved["radii"]]
    state.seconds = saved["seconds"]
    return True


def save_history(directory: Path, state: TrainingState, class_names: Sequence[str]) -> None:
    """Writes history.csv (a row per epoch), classes.csv (a row per epoch and class) and the class history itself."""
    with whole_file(directory / "history.csv") as beside:
        _write_rows(beside, state.reports)
    with whole_file(directory / "classes.csv") as beside:
        _write_rows(beside, list(_class_rows(state, class_names)))
    with whole_file(directory / "history.safetensors") as beside:
        save_file({name: value.contiguous() for name, value in state.history.to_tensors().items()}, beside)


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
    with path.open("w", newline="") as file:
        columns = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
