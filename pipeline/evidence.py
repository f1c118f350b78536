"""Evidence: the predictions of one evaluation of one run, a row per image and weight set, with their origin.

Every number in a table is recomputed from these rows without a model. A *block* is what one forward or one attack over
the test set gives: a (weights, attack) of an attack's evidence, a (weights, corruption, severity) of a corrupted one.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike
from pydantic import ValidationError, field_validator

from pipeline.errors import UserError
from pipeline.files import whole_file
from pipeline.settings import Settings

SEVERITIES = (1, 2, 3, 4, 5)
_ORIGIN = b"origin"
_NAME = pa.dictionary(pa.int32(), pa.string())
_ATTACK_SCHEMA = pa.schema(
    [
        ("weights", _NAME),
        ("attack", _NAME),
        ("index", pa.int32()),
        ("label", pa.int16()),
        ("clean", pa.int16()),
        ("adversarial", pa.int16()),
    ]
)
_CORRUPTION_SCHEMA = pa.schema(
    [
        ("weights", _NAME),
        ("corruption", _NAME),
        ("severity", pa.int8()),
        ("index", pa.int32()),
        ("label", pa.int16()),
        ("prediction", pa.int16()),
    ]
)


class Origin(Settings):
    """What a file of evidence remembers: which run and evaluation, with which settings, from which weights and data.

    Attributes:
        class_names: in the order of the class numbers in the rows.
        settings: of the evaluation, as in params.yaml.
        weights_sha256: of the file of each weight set in the rows.
        data_sha256: of the images that were classified.
        fingerprint: of the code that ran.
        commit: of the repository; empty outside one.
        seconds: how long the evaluation took.
    """

    suite: str
    method: str
    seed: int
    evaluation: Literal["pgd", "autoattack", "square", "corruptions"]
    class_names: tuple[str, ...]
    settings: dict[str, Any]
    weights_sha256: dict[str, str]
    data_sha256: str
    fingerprint: str
    commit: str
    versions: dict[str, str]
    device: str
    seconds: float

    @field_validator("class_names")
    @classmethod
    def _classes_differ(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(names) < 2 or len(set(names)) < len(names):
            raise ValueError(f"there must be two or more different class names, not {', '.join(names) or 'none'}")
        return names

    @property
    def block_columns(self) -> list[str]:
        """The columns that tell a block; within one, every image occurs once."""
        return ["weights", "corruption", "severity"] if self.evaluation == "corruptions" else ["weights", "attack"]

    @property
    def columns(self) -> pa.Schema:
        """Columns and types of the rows."""
        return _CORRUPTION_SCHEMA if self.evaluation == "corruptions" else _ATTACK_SCHEMA


def attack_rows(
    weights: str, attack: str, index: ArrayLike, labels: ArrayLike, clean: ArrayLike, adversarial: ArrayLike
) -> pd.DataFrame:
    """The rows of one block of an attack's evidence, from arrays or CPU tensors, one entry per image.

    Args:
        weights: last, ema, fawa or best.
        attack: pgd and its number of steps (pgd20), autoattack, or square.
        index: of the image in the test set.
        labels: true classes.
        clean: predicted class of the image as it is.
        adversarial: predicted class of the attacked image.
    """
    return pd.DataFrame(
        {
            "weights": _constant(weights, len(np.asarray(index))),
            "attack": _constant(attack, len(np.asarray(index))),
            "index": _integers(index, "int32"),
            "label": _integers(labels, "int16"),
            "clean": _integers(clean, "int16"),
            "adversarial": _integers(adversarial, "int16"),
        }
    )


def corruption_rows(
    weights: str,
    corruption: str,
    severity: ArrayLike | int,
    index: ArrayLike,
    labels: ArrayLike,
    predictions: ArrayLike,
) -> pd.DataFrame:
    """The rows of one corruption, from arrays or CPU tensors, one entry per corrupted image.

    Args:
        weights: last, ema, fawa or best.
        corruption: its name.
        severity: 1 to 5, one for all images or one for each.
        index: of the image in the test set, the same for all severities of one image.
        labels: true classes.
        predictions: predicted classes.
    """
    count = len(np.asarray(index))
    return pd.DataFrame(
        {
            "weights": _constant(weights, count),
            "corruption": _constant(corruption, count),
            "severity": np.broadcast_to(_integers(severity, "int8"), (count,)),
            "index": _integers(index, "int32"),
            "label": _integers(labels, "int16"),
            "prediction": _integers(predictions, "int16"),
        }
    )


def stacked(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Frames of the same columns below one another; names stay categories, which `pandas.concat` would undo."""
    columns = {}
    for name, dtype in frames[0].dtypes.items():
        parts = [pd.Series(frame[name]) for frame in frames]
        is_name = isinstance(dtype, pd.CategoricalDtype)
        columns[name] = pd.api.types.union_categoricals(parts) if is_name else np.concatenate(parts)
    return pd.DataFrame(columns)


def write_evidence(path: Path, frame: pd.DataFrame, origin: Origin) -> None:
    """Writes rows and origin as one Parquet file, whole or not at all."""
    assert list(frame.columns) == origin.columns.names, f"columns {list(frame.columns)}, not {origin.columns.names}"
    problem = next(_problems(frame, origin), None)
    assert problem is None, problem
    schema = origin.columns.with_metadata({_ORIGIN: origin.model_dump_json().encode()})
    table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False).replace_schema_metadata(schema.metadata)
    with whole_file(path) as beside:
        pq.write_table(table, beside, compression="zstd")


def read_evidence(path: Path) -> tuple[pd.DataFrame, Origin]:
    """Reads what `write_evidence` wrote, and checks it.

    Raises:
        UserError: the file is missing or no evidence, or its rows contradict its origin or one another.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise UserError(
            f"There is no evidence {path}. Evaluate the run first: `dvc repro` makes what is missing."
        ) from None
    except (pa.ArrowInvalid, OSError) as error:
        _refuse(path, f"it cannot be read as Parquet ({' '.join(str(error).split())})")
    origin = _origin(path, table)
    if problem := next(_schema_problems(table, origin), None):
        _refuse(path, problem)
    frame = table.to_pandas()
    if problem := next(_problems(frame, origin), None):
        _refuse(path, problem)
    return frame, origin


def _constant(name: str, count: int) -> pd.Categorical:
    return pd.Categorical.from_codes(np.zeros(count, dtype="int8"), categories=[name])


def _integers(values: ArrayLike | int, dtype: str) -> np.ndarray:
    array = np.asarray(values)
    narrow = array.astype(dtype)
    assert np.array_equal(narrow, array), f"values do not fit in {dtype}"
    return narrow


def _refuse(path: Path, problem: str) -> NoReturn:
    raise UserError(
        f"{path} cannot be used as evidence: {problem}. Delete it and type `dvc repro`, which restores the file or "
        "evaluates the run again."
    )


def _origin(path: Path, table: pa.Table) -> Origin:
    stored = (table.schema.metadata or {}).get(_ORIGIN)
    if stored is None:
        _refuse(path, "it does not say which run and evaluation it comes from")
    try:
        return Origin.model_validate_json(stored)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        _refuse(path, f"its origin is not readable ({where}: {first['msg']})")


def _schema_problems(table: pa.Table, origin: Origin) -> Iterator[str]:
    if table.schema.names != origin.columns.names:
        yield (
            f"evidence of {origin.evaluation} has the columns {', '.join(origin.columns.names)}, "
            f"but here are {', '.join(table.schema.names)}"
        )
        return
    for expected, found in zip(origin.columns, table.schema, strict=True):
        if found.type != expected.type:
            yield f"column {expected.name} has type {found.type}, not {expected.type}"
        if empty := table[expected.name].null_count:
            yield f"column {expected.name} is empty in {empty} rows"


def _problems(frame: pd.DataFrame, origin: Origin) -> Iterator[str]:
    """What is wrong with rows of the right columns, first what later checks take for granted."""
    if frame.empty:
        yield "it has no rows"
        return
    yield from _value_problems(frame, origin)
    yield from _name_problems(frame, origin)
    yield from _image_problems(frame, origin.block_columns)


def _value_problems(frame: pd.DataFrame, origin: Origin) -> Iterator[str]:
    last_class = len(origin.class_names) - 1
    ranges = dict.fromkeys(("label", "clean", "adversarial", "prediction"), (0, last_class))
    ranges |= {"severity": (SEVERITIES[0], SEVERITIES[-1]), "index": (0, np.iinfo("int32").max)}
    for column in frame.columns.intersection(list(ranges)):
        low, high = ranges[column]
        outside = frame.loc[~frame[column].between(low, high), column]
        if len(outside):
            yield f"column {column} must lie between {low} and {high}, but holds {outside.iloc[0]} in row {outside.index[0]}"


def _name_problems(frame: pd.DataFrame, origin: Origin) -> Iterator[str]:
    held, described = sorted(frame["weights"].unique()), sorted(origin.weights_sha256)
    if held != described:
        yield f"its rows are of the weights {', '.join(held)}, but its origin describes {', '.join(described) or 'none'}"
    if "attack" in frame:
        pattern = r"pgd[1-9]\d*" if origin.evaluation == "pgd" else origin.evaluation
        if strange := [name for name in frame["attack"].unique() if not re.fullmatch(pattern, name)]:
            yield f"it is evidence of {origin.evaluation}, but holds the attack {strange[0]!r}"


def _image_problems(frame: pd.DataFrame, block_columns: list[str]) -> Iterator[str]:
    image, images = pd.factorize(frame["index"])
    labels = frame["label"].to_numpy()
    one_label = np.empty(len(images), dtype=np.int64)
    one_label[image] = labels
    if (differs := labels != one_label[image]).any():
        row = int(np.argmax(differs))
        yield f"image {images[image[row]]} has the label {labels[row]} and also {one_label[image[row]]}"
    codes, names = zip(*(pd.factorize(frame[column]) for column in block_columns), strict=True)
    shape = tuple(map(len, names))
    block = np.ravel_multi_index(codes, shape)
    count = np.bincount(block * len(images) + image, minlength=int(np.prod(shape)) * len(images))
    if (count != 1).any():
        at, which = divmod(int(np.argmax(count != 1)), len(images))
        title = ", ".join(str(name[code]) for name, code in zip(names, np.unravel_index(at, shape), strict=True))
        times = count.reshape(-1, len(images))[at, which]
        yield f"every image must occur once in ({title}), but image {images[which]} occurs {times} times"
