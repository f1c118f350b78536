import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from fairat.errors import Hint, UserError
from fairat.results import evidence
from fairat.results.evidence import Origin, attack_rows, corruption_rows, read_evidence, stacked, write_evidence
from pydantic import ValidationError

INDEX, LABELS = [0, 1, 2, 3], [0, 1, 2, 0]


def origin(evaluation="pgd", weights=("last", "ema"), **changes):
    return Origin(
        **{
            "suite": "demo",
            "method": "fair_tat",
            "seed": 0,
            "evaluation": evaluation,
            "class_names": ("cat", "dog & co", "ἵππος"),
            "settings": {"steps": [10, 20], "step_size": 2 / 255},
            "weights_sha256": dict.fromkeys(weights, "5e1f"),
            "data_sha256": "da7a",
            "fingerprint": "f1f2",
            "commit": "",
            "versions": {"python": "3.11"},
            "device": "cpu",
            "seconds": 1.5,
            **changes,
        }
    )


def attack_evidence():
    return stacked(
        [
            attack_rows(weights, attack, INDEX, LABELS, [0, 1, 2, 2], [0, 2, 2, 1])
            for weights in ("last", "ema")
            for attack in ("pgd10", "pgd20")
        ]
    )


def corruption_evidence():
    severity = np.repeat([1, 2, 3, 4, 5], 4)
    return stacked(
        [
            corruption_rows(weights, name, severity, INDEX * 5, LABELS * 5, [0, 1, 1, 1] * 5)
            for weights in ("last", "ema")
            for name in ("fog", "gaussian_noise")
        ]
    )


def write_table(table, path):
    """A Parquet file with the digest of itself, whatever else it holds."""
    metadata = (table.schema.metadata or {}) | {evidence._DIGEST: evidence._MARK + evidence._BLANK}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    path.write_bytes(evidence._stamped(path.read_bytes()))


def stored(path, frame, by):
    """Stores rows without the writer's check, as a faulty writer or a later hand would leave them."""
    schema = by.columns.with_metadata({b"origin": by.model_dump_json().encode()})
    write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False), path)
    return path


@pytest.mark.parametrize(("evaluation", "make"), [("pgd", attack_evidence), ("corruptions", corruption_evidence)])
def test_what_is_written_is_read_back(tmp_path, evaluation, make):
    path, frame = tmp_path / "results/demo/s0" / evaluation / "fair_tat.parquet", make()
    write_evidence(path, frame, origin(evaluation))
    found, found_origin = read_evidence(path)
    assert found_origin == origin(evaluation)
    pd.testing.assert_frame_equal(found, frame.to_pandas())


def test_rows_take_tensors_and_arrays_alike():
    lists = attack_rows("last", "square", INDEX, LABELS, [0, 1, 2, 2], [0, 2, 2, 1])
    tensors = attack_rows("last", "square", *map(torch.tensor, (INDEX, LABELS, [0, 1, 2, 2], [0, 2, 2, 1])))
    assert tensors.equals(lists)
    assert [str(field.type) for field in lists.schema][2:] == ["int32", "int16", "int16", "int16"]


def test_one_severity_holds_for_all_images_of_a_corruption():
    rows = corruption_rows("last", "fog", 3, torch.arange(4), torch.tensor(LABELS), torch.tensor(LABELS))
    assert rows["severity"].to_pylist() == [3, 3, 3, 3]
    assert rows["severity"].type == pa.int8()


def test_a_class_that_does_not_fit_in_its_column_is_refused_rather_than_wrapped_around():
    with pytest.raises(pa.ArrowInvalid, match="65536 not in range"):
        attack_rows("last", "pgd10", [0], [2**16], [0], [0])


def test_the_origin_lies_under_one_key_of_the_file_as_json(tmp_path):
    write_evidence(tmp_path / "e.parquet", attack_evidence(), origin())
    stored = pq.read_schema(tmp_path / "e.parquet").metadata
    assert json.loads(stored[b"origin"])["weights_sha256"] == {"last": "5e1f", "ema": "5e1f"}


@pytest.mark.parametrize("names", [(), ("cat",), ("cat", "cat")])
def test_an_origin_names_two_or_more_different_classes(names):
    with pytest.raises(ValidationError, match="two or more different class names"):
        origin(class_names=names)


def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "e.parquet"
    write_evidence(path, attack_evidence(), origin())
    before = path.read_bytes()

    def stops_halfway(table, where, **options):
        where.write_bytes(before[:100])
        raise RuntimeError("killed")

    monkeypatch.setattr(evidence.pq, "write_table", stops_halfway)
    with pytest.raises(RuntimeError, match="killed"):
        write_evidence(path, attack_evidence(), origin(seed=1))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_inconsistent_rows_are_not_written(tmp_path):
    with pytest.raises(AssertionError, match="must occur once"):
        write_evidence(tmp_path / "e.parquet", attack_evidence().slice(1), origin())
    assert not list(tmp_path.iterdir())


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"There is no evidence .*none\.parquet\. Evaluate the run first") as caught:
        read_evidence(tmp_path / "none.parquet")
    assert caught.value.hint is Hint.MAKE


def test_a_file_that_is_no_parquet_or_a_damaged_one_is_refused(tmp_path):
    path = tmp_path / "e.parquet"
    write_evidence(path, attack_evidence(), origin())
    whole = path.read_bytes()
    for content in (b"index,label", whole[:-20], whole[:4] + bytes(200) + whole[204:]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"e\.parquet cannot be used as evidence: it cannot be read .* Delete it"):
            read_evidence(path)


def test_a_file_without_an_origin_is_refused(tmp_path):
    write_table(attack_evidence(), tmp_path / "e.parquet")
    with pytest.raises(UserError, match="it does not say which run and evaluation it comes from"):
        read_evidence(tmp_path / "e.parquet")


def test_an_unreadable_origin_names_its_field(tmp_path):
    path = tmp_path / "e.parquet"
    write_evidence(path, attack_evidence(), origin())
    table = pq.read_table(path)
    write_table(table.replace_schema_metadata({b"origin": origin().model_dump_json().replace("pgd", "fgsm")}), path)
    with pytest.raises(UserError, match=r"its origin is not readable \(evaluation: Input should be 'pgd'"):
        read_evidence(path)


def test_columns_of_another_name_or_type_are_refused(tmp_path):
    path = tmp_path / "e.parquet"
    for change, message in (
        (lambda table: table.rename_columns([*table.column_names[:-1], "attacked"]), "but here are .*, attacked"),
        (
            lambda table: table.drop_columns("clean"),
            "has the columns weights, attack, index, label, clean, adversarial",
        ),
        (
            lambda table: table.set_column(3, "label", table["label"].cast(pa.int64())),
            "column label has type int64, not int16",
        ),
        (
            lambda table: table.set_column(5, "adversarial", pa.array([None] * len(table), pa.int16())),
            "column adversarial is empty in 16 rows",
        ),
    ):
        write_evidence(path, attack_evidence(), origin())
        table = pq.read_table(path)
        write_table(change(table).replace_schema_metadata(table.schema.metadata), path)
        with pytest.raises(UserError, match=message):
            read_evidence(path)


@pytest.mark.parametrize(
    ("column", "row", "value", "message"),
    [
        ("label", 2, 3, "column label must lie between 0 and 2, but holds 3 in row 2"),
        ("adversarial", 5, -1, "column adversarial must lie between 0 and 2, but holds -1 in row 5"),
        ("index", 0, -7, "column index must lie between 0 and .*, but holds -7 in row 0"),
        ("index", 15, 0, r"every image must occur once in \(ema, pgd20\), but image 0 occurs 2 times"),
        ("index", 9, 77, r"every image must occur once in \(last, pgd10\), but image 77 occurs 0 times"),
        ("label", 4, 2, "image 0 has the label 2 and also 0"),
    ],
)
def test_a_wrong_value_is_named(tmp_path, column, row, value, message):
    frame = attack_evidence().to_pandas()
    frame.loc[row, column] = value
    path = stored(tmp_path / "e.parquet", frame, origin())
    with pytest.raises(UserError, match=message):
        read_evidence(path)


def test_a_repeated_block_is_named(tmp_path):
    path = stored(
        tmp_path / "e.parquet", stacked([attack_evidence(), attack_evidence().slice(4, 4)]).to_pandas(), origin()
    )
    with pytest.raises(UserError, match=r"once in \(last, pgd20\), but image 0 occurs 2 times"):
        read_evidence(path)


def test_a_missing_severity_is_named(tmp_path):
    rows = corruption_evidence().to_pandas().drop(index=[12, 13, 14, 15])  # fog, severity 4
    path = stored(tmp_path / "e.parquet", rows, origin("corruptions"))
    with pytest.raises(UserError, match=r"once in \(last, fog, 4\), but image 0 occurs 0 times"):
        read_evidence(path)


def test_a_severity_beyond_five_is_named(tmp_path):
    path = stored(
        tmp_path / "e.parquet", corruption_evidence().to_pandas().replace({"severity": {5: 6}}), origin("corruptions")
    )
    with pytest.raises(UserError, match="column severity must lie between 1 and 5, but holds 6 in row 16"):
        read_evidence(path)


def test_a_file_without_rows_is_refused(tmp_path):
    path = stored(tmp_path / "e.parquet", attack_evidence().to_pandas().iloc[:0], origin())
    with pytest.raises(UserError, match="it has no rows"):
        read_evidence(path)


def test_weights_that_the_origin_does_not_know_are_refused(tmp_path):
    path = stored(tmp_path / "e.parquet", attack_evidence().to_pandas(), origin(weights=("last", "fawa")))
    with pytest.raises(UserError, match="rows are of the weights ema, last, but its origin describes fawa, last"):
        read_evidence(path)


def test_an_attack_of_another_evaluation_is_refused(tmp_path):
    path = stored(tmp_path / "e.parquet", attack_evidence().to_pandas(), origin("square"))
    with pytest.raises(UserError, match="it is evidence of square, but holds the attack 'pgd10'"):
        read_evidence(path)


def test_a_flipped_bit_anywhere_is_found(tmp_path):
    """100 places, over the whole file; `make faults` flips more."""
    path = tmp_path / "e.parquet"
    write_evidence(path, attack_evidence(), origin())
    whole = path.read_bytes()
    for place in np.random.default_rng(0).integers(8 * len(whole), size=100).tolist():
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="its content does not match its digest"):
            read_evidence(path)


def test_evidence_of_unlike_conditions_is_said():
    same = {"torch": "2.15", "threads": "1"}
    origins = [origin(seed=seed, conditions=same) for seed in (0, 1)]
    assert evidence.unlike_conditions(origins) == []
    origins.append(
        origin(seed=2, conditions=same | {"threads": "8"}, changed_conditions=("parts of it: threads 2 (now 8)",))
    )
    assert evidence.unlike_conditions(origins) == [
        "threads is not the same everywhere: 1 in pgd of fair_tat/s0 and 1 more; 8 in pgd of fair_tat/s2",
        "pgd of fair_tat/s2: parts of it: threads 2 (now 8)",
    ]
