"""All evidence of a suite -> one tidy table, the headline numbers, and the same numbers in MLflow."""

import json
from typing import Annotated

import typer
from fairat import paths, tracking
from fairat.console import console
from fairat.files import whole_file
from fairat.results.aggregation import aggregate, headline, write_table
from fairat.results.evidence import read_origin, unlike_conditions
from fairat.study import load_study


def main(suite: Annotated[str, typer.Argument(help="a suite of params.yaml")]) -> None:
    """Aggregates one suite."""
    files = load_study().evidence_of(suite)
    table = aggregate(files)
    origins = [read_origin(path) for path in files]
    remembered = {"method", "seed", "evaluation", "commit", "weights_sha256"}
    table.attrs[tracking.ORIGINS] = [origin.model_dump(include=remembered) for origin in origins]
    write_table(paths.metrics(suite), table)
    with whole_file(paths.headline(suite)) as beside:
        beside.write_text(json.dumps(headline(table), indent=2) + "\n", encoding="utf-8")
    console.print(f"{suite}: {len(table):,} numbers from {table['method'].nunique()} methods in {paths.metrics(suite)}")
    for remark in unlike_conditions(origins):
        console.print(f"{suite}: compare with care, for single predictions may differ: {remark}", markup=False)
    with tracking.warning_only():
        tracking.log_suite(suite, table)
