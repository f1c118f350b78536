"""Evidence: the predictions of one evaluation of one run, a row per image and weight set, with their origin.

Every number in a table is recomputed from these rows without a model. A *block* is what one forward or one attack over
the test set gives: a (weights, attack) of an attack's evidence, a (weights, corruption, severity) of a corrupted one.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike
from pydantic import ValidationError, field_validator

from fairat.errors import Hint, UserError, on_one_line
from fairat.files import whole_file
from fairat.settings.base import Settings

_Read = TypeVar("_Read")
_ORIGIN, _DIGEST = b"origin", b"digest"
_MARK, _BLANK = b"sha256 of this file with zeros here: ", b"0" * 64
_NAME = pa.dictionary(pa.int32(), pa.string())
_TYPES = {"weights": _NAME, "attack": _NAME, "corruption": _NAME, "severity": pa.int8(), "index": pa.int32()}


def _schema(*names: str) -> pa.Schema:
    return pa.schema([(name, _TYPES.get(name, pa.int16())) for name in names])


_ATTACK = _schema("weights", "attack", "index", "label", "clean", "adversarial")
_STEPS = _schema(*_ATTACK.names, "first_success")
_CORRUPTION = _schema("weights", "corruption", "severity", "index", "label", "prediction")


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
        conditions: what can change the last bits besides code, data and settings, see `fairat.device.conditions`.
        changed_conditions: what was different before a restart; then single predictions may be others than without it.
    """

    suite: str
    method: str
    seed: int
    evaluation: Literal["pgd", "autoattack", "square", "corruptions", "steps"]
    class_names: tuple[str, ...]
    settings: dict[str, Any]
    weights_sha256: dict[str, str]
    data_sha256: str
    fingerprint: str
    commit: str
    versions: dict[str, str]
    device: str
    seconds: float
    conditions: dict[str, str] = {}
    changed_conditions: tuple[str, ...] = ()

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
        return {"corruptions": _CORRUPTION, "steps": _STEPS}.get(self.evaluation, _ATTACK)


def unlike_conditions(origins: Sequence[Origin]) -> list[str]:
    """What could make evidence differ in the last bits besides code, data and settings: a sentence each.

    A condition that is not the same everywhere, with what has which; and evidence that was begun under other conditions.
    """
    of_condition: dict[str, dict[str, list[str]]] = {}
    for origin in origins:
        place = f"{origin.evaluation} of {origin.method}/s{origin.seed}"
        for name, value in origin.conditions.items():
            of_condition.setdefault(name, {}).setdefault(value, []).append(place)
    found = [
        f"{name} is not the same everywhere: "
        + "; ".join(f"{value} in {_counted(places)}" for value, places in held.items())
        for name, held in of_condition.items()
        if len(held) > 1
    ]
    for origin in origins:
        found += [
            f"{origin.evaluation} of {origin.method}/s{origin.seed}: {text}" for text in origin.changed_conditions
        ]
    return found


def _counted(places: Sequence[str]) -> str:
    return places[0] + (f" and {len(places) - 1} more" if len(places) > 1 else "")


def attack_rows(
    weights: str,
    attack: str,
    index: ArrayLike,
    labels: ArrayLike,
    clean: ArrayLike,
    adversarial: ArrayLike,
    first_success: ArrayLike | None = None,
) -> pa.Table:
    """The rows of one block of an attack's evidence, from arrays or CPU tensors, one entry per image.

    Args:
        weights: last, ema, fawa or best.
        attack: pgd and its number of steps (pgd20), autoattack, or square.
        index: of the image in the test set.
        labels: true classes.
        clean: predicted class of the image as it is.
        adversarial: predicted class of the attacked image.
        first_success: of evidence of steps, after how many the prediction was first wrong; all where it never was.
    """
    values = (weights, attack, index, labels, clean, adversarial)
    return _rows(_ATTACK, *values) if first_success is None else _rows(_STEPS, *values, first_success)


def corruption_rows(
    weights: str,
    corruption: str,
    severity: ArrayLike | int,
    index: ArrayLike,
    labels: ArrayLike,
    predictions: ArrayLike,
) -> pa.Table:
    """The rows of one corruption, from arrays or CPU tensors, one entry per corrupted image.

    Args:
        weights: last, ema, fawa or best.
        corruption: its name.
        severity: 1 to 5, one for all images or one for each.
        index: of the image in the test set, the same for all severities of one image.
        labels: true classes.
        predictions: predicted classes.
    """
    return _rows(_CORRUPTION, weights, corruption, severity, index, labels, predictions)


def _rows(schema: pa.Schema, *values: ArrayLike | str) -> pa.Table:
    """A table with the schema's columns and types, a row per entry of `index`; a single value holds for all rows."""
    count = len(np.asarray(values[schema.names.index("index")]))

    def column(value: ArrayLike | str, kind: pa.DataType) -> pa.Array:
        if isinstance(value, str):
            return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), [value])
        return pa.array(np.broadcast_to(np.asarray(value), (count,)), kind)

    return pa.table([column(value, field.type) for value, field in zip(values, schema, strict=True)], schema=schema)


def stacked(tables: Sequence[pa.Table]) -> pa.Table:
    """Rows of the same columns below one another."""
    return pa.concat_tables(tables).unify_dictionaries()


def write_evidence(path: Path, rows: pa.Table, origin: Origin) -> None:
    """Writes rows and origin as one Parquet file, whole or not at all."""
    problem = next(_problems(rows, origin), None)
    assert problem is None, problem
    metadata = {_ORIGIN: origin.model_dump_json().encode(), _DIGEST: _MARK + _BLANK}
    described = rows.combine_chunks().replace_schema_metadata(metadata)
    with whole_file(path) as beside:
        pq.write_table(described, beside, compression="zstd")
        beside.write_bytes(_stamped(beside.read_bytes()))


def _stamped(content: bytes) -> bytes:
    """A file of evidence with the SHA-256 of itself in the place that was left blank for it."""
    before, mark, after = content.partition(_MARK)
    blank = before + mark + _BLANK + after[len(_BLANK) :]
    return before + mark + hashlib.sha256(blank).hexdigest().encode() + after[len(_BLANK) :]


def _whole(path: Path) -> pa.BufferReader:
    """The content of a file of evidence, which is the one that was written."""
    content = path.read_bytes()
    if _MARK not in content or _stamped(content) != content:
        raise pa.ArrowInvalid("its content does not match its digest")
    return pa.BufferReader(content)


def read_evidence(path: Path) -> tuple[pd.DataFrame, Origin]:
    """Reads what `write_evidence` wrote, and checks it.

    Raises:
        UserError: the file is missing or no evidence, or its rows contradict its origin or one another.
    """
    table = _from_parquet(pq.read_table, path)
    origin = _origin(path, table.schema)
    if problem := next(_problems(table, origin), None):
        _refuse(path, problem)
    return table.to_pandas(), origin


def read_origin(path: Path) -> Origin:
    """The origin alone, without reading the rows.

    Raises:
        UserError: the file is missing or no evidence.
    """
    return _origin(path, _from_parquet(pq.read_schema, path))


def arranged(rows: pd.DataFrame, origin: Origin) -> tuple[list[pd.Index], np.ndarray, dict[str, np.ndarray]]:
    """Evidence that was read, as arrays.

    Returns:
        What stands along each axis, the blocks' and then the images'; the true class of every image; every other column of
        numbers, an axis per block column and one of images.
    """
    codes, axes = _coded(rows, origin)

    def array(column: str) -> np.ndarray:
        values = np.empty([len(axis) for axis in axes], dtype=np.int64)
        values[codes] = rows[column]
        return values

    columns = [name for name in rows.columns if name not in {*origin.block_columns, "index", "label"}]
    return axes, array("label").reshape(-1, len(axes[-1]))[0], {name: array(name) for name in columns}


def _coded(rows: pd.DataFrame, origin: Origin) -> tuple[tuple[np.ndarray, ...], list[pd.Index]]:
    """Where each row stands along each axis, and what stands there, in the order in which it first occurs."""
    codes, axes = zip(*(pd.factorize(rows[name]) for name in (*origin.block_columns, "index")), strict=True)
    return codes, list(axes)


def _from_parquet(read: Callable[[pa.BufferReader], _Read], path: Path) -> _Read:
    try:
        return read(_whole(path))
    except FileNotFoundError:
        raise UserError(f"There is no evidence {path}. Evaluate the run first.", Hint.MAKE) from None
    except (pa.ArrowInvalid, OSError) as error:
        _refuse(path, f"it cannot be read as Parquet ({on_one_line(error)})")


def _refuse(path: Path, problem: str) -> NoReturn:
    raise UserError(f"{path} cannot be used as evidence: {problem}. Delete it.", Hint.REMAKE)


def _origin(path: Path, schema: pa.Schema) -> Origin:
    stored = (schema.metadata or {}).get(_ORIGIN)
    if stored is None:
        _refuse(path, "it does not say which run and evaluation it comes from")
    try:
        return Origin.model_validate_json(stored)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        _refuse(path, f"its origin is not readable ({where}: {first['msg']})")


def _problems(table: pa.Table, origin: Origin) -> Iterator[str]:
    """What is wrong with rows, first what later checks take for granted: only the first is sure to make sense."""
    if table.schema.names != origin.columns.names:
        wanted, found = ", ".join(origin.columns.names), ", ".join(table.schema.names)
        yield f"evidence of {origin.evaluation} has the columns {wanted}, but here are {found}"
    for expected, found in zip(origin.columns, table.schema, strict=True):
        if found.type != expected.type:
            yield f"column {expected.name} has type {found.type}, not {expected.type}"
        if empty := table[expected.name].null_count:
            yield f"column {expected.name} is empty in {empty} rows"
    rows = table.to_pandas()
    if rows.empty:
        yield "it has no rows"
    ranges = {"severity": (1, 5), "index": (0, np.iinfo("int32").max), "first_success": (0, np.iinfo("int16").max)}
    for name, values in rows.select_dtypes("number").items():
        low, high = ranges.get(str(name), (0, len(origin.class_names) - 1))
        for row in np.flatnonzero(~values.between(low, high)):
            yield f"column {name} must lie between {low} and {high}, but holds {values[row]} in row {row}"
    held, described = sorted(rows["weights"].unique()), sorted(origin.weights_sha256)
    if held != described:
        yield f"its rows are of the weights {', '.join(held)}, but its origin describes {', '.join(described) or 'none'}"
    pattern = r"pgd[1-9]\d*" if origin.evaluation in ("pgd", "steps") else origin.evaluation
    for name in rows["attack"].unique() if "attack" in rows else ():
        if not re.fullmatch(pattern, name):
            yield f"it is evidence of {origin.evaluation}, but holds the attack {name!r}"
    yield from _image_problems(rows, origin)


def _image_problems(rows: pd.DataFrame, origin: Origin) -> Iterator[str]:
    codes, axes = _coded(rows, origin)
    (*_, image), (*_, images), labels = codes, axes, rows["label"].to_numpy()
    label_of_image = np.empty(len(images), dtype=np.int64)
    label_of_image[image] = labels
    for row in np.flatnonzero(labels != label_of_image[image]):
        yield f"image {images[image[row]]} has the label {labels[row]} and also {label_of_image[image[row]]}"
    shape = tuple(map(len, axes))
    count = np.bincount(np.ravel_multi_index(codes, shape), minlength=int(np.prod(shape)))
    for cell in np.flatnonzero(count != 1):
        *block, which = (axis[code] for axis, code in zip(axes, np.unravel_index(cell, shape), strict=True))
        title = ", ".join(map(str, block))
        yield f"every image must occur once in ({title}), but image {which} occurs {count[cell]} times"
