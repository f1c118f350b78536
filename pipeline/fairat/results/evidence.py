"""Evidence: the predictions of one evaluation of one run, a row per image and weight set, with their origin.

Every number in a table is recomputed from these rows without a model. A *block* is what one forward or one attack over
the test set gives: a (weights, attack) of an attack's evidence, a (weights, corruption, severity) of a corrupted one.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import ArrayLike
from pydantic import ValidationError, field_validator

from fairat.errors import Hint, UserError, on_one_line
from fairat.files import whole_file
from fairat.settings.base import Settings

if TYPE_CHECKING:
    import pandas as pd  # takes a second to import, which evaluations need not spend

_Read = TypeVar("_Read")
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
_STEPS_SCHEMA = _ATTACK_SCHEMA.append(pa.field("first_success", pa.int16()))
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
        return {"corruptions": _CORRUPTION_SCHEMA, "steps": _STEPS_SCHEMA}.get(self.evaluation, _ATTACK_SCHEMA)


def attack_rows(
    weights: str, attack: str, index: ArrayLike, labels: ArrayLike, clean: ArrayLike, adversarial: ArrayLike
) -> pa.Table:
    """The rows of one block of an attack's evidence, from arrays or CPU tensors, one entry per image.

    Args:
        weights: last, ema, fawa or best.
        attack: pgd and its number of steps (pgd20), autoattack, or square.
        index: of the image in the test set.
        labels: true classes.
        clean: predicted class of the image as it is.
        adversarial: predicted class of the attacked image.
    """
    return _rows(_ATTACK_SCHEMA, weights, attack, index, labels, clean, adversarial)


def steps_rows(
    weights: str,
    attack: str,
    index: ArrayLike,
    labels: ArrayLike,
    clean: ArrayLike,
    adversarial: ArrayLike,
    first_success: ArrayLike,
) -> pa.Table:
    """`attack_rows`, and after how many steps of the attack the prediction was first wrong; all steps where it never was."""
    return _rows(_STEPS_SCHEMA, weights, attack, index, labels, clean, adversarial, first_success)


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
    return _rows(_CORRUPTION_SCHEMA, weights, corruption, severity, index, labels, predictions)


def stacked(tables: Sequence[pa.Table]) -> pa.Table:
    """Rows of the same columns below one another."""
    return pa.concat_tables(tables).unify_dictionaries()


def values_of(column: pa.ChunkedArray) -> np.ndarray:
    """The values of a column, names as objects. (Arrow's own `to_numpy` would import pandas.)"""
    plain = _plain(column)
    if pa.types.is_string(plain.type):
        codes, names = _coded(column)
        return names[codes]
    return np.from_dlpack(plain)


def write_evidence(path: Path, rows: pa.Table, origin: Origin) -> None:
    """Writes rows and origin as one Parquet file, whole or not at all."""
    assert rows.schema.equals(origin.columns), f"columns {rows.schema}, not {origin.columns}"
    problem = next(_problems(rows, origin), None)
    assert problem is None, problem
    described = rows.combine_chunks().replace_schema_metadata({_ORIGIN: origin.model_dump_json().encode()})
    with whole_file(path) as beside:
        pq.write_table(described, beside, compression="zstd")


def read_evidence(path: Path) -> "tuple[pd.DataFrame, Origin]":
    """Reads what `write_evidence` wrote, and checks it.

    Raises:
        UserError: the file is missing or no evidence, or its rows contradict its origin or one another.
    """
    table = _from_parquet(pq.read_table, path)
    origin = _origin(path, table.schema)
    if problem := next(_schema_problems(table, origin), None):
        _refuse(path, problem)
    if problem := next(_problems(table, origin), None):
        _refuse(path, problem)
    return table.to_pandas(), origin


def read_origin(path: Path) -> Origin:
    """The origin alone, without reading the rows.

    Raises:
        UserError: the file is missing or no evidence.
    """
    return _origin(path, _from_parquet(pq.read_schema, path))


def _from_parquet(read: Callable[[Path], _Read], path: Path) -> _Read:
    try:
        return read(path)
    except FileNotFoundError:
        raise UserError(f"There is no evidence {path}. Evaluate the run first.", Hint.MAKE) from None
    except (pa.ArrowInvalid, OSError) as error:
        _refuse(path, f"it cannot be read as Parquet ({on_one_line(error)})")


def _rows(schema: pa.Schema, *values: ArrayLike | str) -> pa.Table:
    """A table with the schema's columns and types, a row per entry of `index`; a single value holds for all rows."""
    count = len(np.asarray(values[schema.names.index("index")]))
    columns = [
        _constant(value, count) if isinstance(value, str) else _integers(value, field.type, count)
        for value, field in zip(values, schema, strict=True)
    ]
    return pa.table(columns, schema=schema)


def _constant(name: str, count: int) -> pa.DictionaryArray:
    encoded = name.encode()
    names = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, len(encoded)], "int32")), pa.py_buffer(encoded))
    return pa.DictionaryArray.from_arrays(_integers(0, pa.int32(), count), names)


def _integers(values: ArrayLike, kind: pa.DataType, count: int) -> pa.Array:
    """Integers of a smaller type. From their memory: `pa.array` imports pandas to see whether it was given any of it."""
    array = np.broadcast_to(np.asarray(values), (count,))
    narrow = np.ascontiguousarray(array.astype(str(kind)))
    assert np.array_equal(narrow, array), f"values do not fit in {kind}"
    return pa.Array.from_buffers(kind, count, [None, pa.py_buffer(narrow)])


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


def _problems(rows: pa.Table, origin: Origin) -> Iterator[str]:
    """What is wrong with rows of the right columns, first what later checks take for granted."""
    if not rows.num_rows:
        yield "it has no rows"
        return
    yield from _value_problems(rows, origin)
    yield from _name_problems(rows, origin)
    yield from _image_problems(rows, origin.block_columns)


def _value_problems(rows: pa.Table, origin: Origin) -> Iterator[str]:
    last_class = len(origin.class_names) - 1
    ranges = dict.fromkeys(("label", "clean", "adversarial", "prediction"), (0, last_class))
    ranges |= {"severity": (SEVERITIES[0], SEVERITIES[-1]), "index": (0, np.iinfo("int32").max)}
    ranges |= {"first_success": (0, np.iinfo("int16").max)}
    for name in rows.column_names:
        if name not in ranges:
            continue
        (low, high), values = ranges[name], values_of(rows[name])
        outside = np.flatnonzero((values < low) | (values > high))
        if len(outside):
            yield f"column {name} must lie between {low} and {high}, but holds {values[outside[0]]} in row {outside[0]}"


def _name_problems(rows: pa.Table, origin: Origin) -> Iterator[str]:
    held, described = sorted(_coded(rows["weights"])[1]), sorted(origin.weights_sha256)
    if held != described:
        yield f"its rows are of the weights {', '.join(held)}, but its origin describes {', '.join(described) or 'none'}"
    if "attack" in rows.column_names:
        pattern = r"pgd[1-9]\d*" if origin.evaluation in ("pgd", "steps") else origin.evaluation
        if strange := [name for name in _coded(rows["attack"])[1] if not re.fullmatch(pattern, name)]:
            yield f"it is evidence of {origin.evaluation}, but holds the attack {strange[0]!r}"


def _image_problems(rows: pa.Table, block_columns: list[str]) -> Iterator[str]:
    image, images = _coded(rows["index"])
    labels = values_of(rows["label"])
    one_label = np.empty(len(images), dtype=np.int64)
    one_label[image] = labels
    if (differs := labels != one_label[image]).any():
        row = int(np.argmax(differs))
        yield f"image {images[image[row]]} has the label {labels[row]} and also {one_label[image[row]]}"
    codes, names = zip(*(_coded(rows[column]) for column in block_columns), strict=True)
    shape = tuple(map(len, names))
    block = np.ravel_multi_index(codes, shape)
    count = np.bincount(block * len(images) + image, minlength=int(np.prod(shape)) * len(images))
    if (count != 1).any():
        at, which = divmod(int(np.argmax(count != 1)), len(images))
        title = ", ".join(str(name[code]) for name, code in zip(names, np.unravel_index(at, shape), strict=True))
        times = count.reshape(-1, len(images))[at, which]
        yield f"every image must occur once in ({title}), but image {images[which]} occurs {times} times"


def _coded(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """A number for the value of every row, and the values so numbered, in the order in which they first occur."""
    encoded = _plain(column).dictionary_encode()
    values = encoded.dictionary
    is_name = pa.types.is_string(values.type)
    return np.from_dlpack(encoded.indices), np.array(values.to_pylist(), object) if is_name else np.from_dlpack(values)


def _plain(column: pa.ChunkedArray) -> pa.Array:
    decoded = pc.cast(column, column.type.value_type) if pa.types.is_dictionary(column.type) else column
    return decoded.combine_chunks()
