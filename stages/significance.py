"""The evidence of a suite -> every FAIR-TAT row against its base, with confidence intervals."""

from typing import Annotated

import typer
from fairat import paths
from fairat.console import console
from fairat.files import whole_directory
from fairat.methods.method import bases
from fairat.papers.setting import about
from fairat.papers.significance import significance_table
from fairat.rendering.latex import write_latex
from fairat.rendering.markdown import write_markdown
from fairat.results.significance import compare, comparison_table
from fairat.study import Training, load_study

METRICS = {"significance": "worst_class_accuracy", "significance_overall": "overall_accuracy"}


def main(suite: Annotated[str, typer.Argument(help="a suite of params.yaml")]) -> None:
    """Compares the rows of one suite."""
    study = load_study()
    settings = study.suite(suite)
    trained = [run for run in study.runs_of(suite) if isinstance(run, Training)]
    methods = {run.method_name: run.method for run in trained}
    comparisons = compare(suite, bases(methods), study.evidence_of(suite))
    evaluations = ("clean", f"pgd{settings.evaluation.pgd.steps[0]}", "autoattack", "square")
    shown = [one for one in comparisons if one.block.evaluation in evaluations]
    with whole_directory(paths.significance(suite)) as directory:
        comparison_table(comparisons).to_csv(directory / "significance.csv", index=False)
        for name, metric in METRICS.items() if shown else ():
            table = significance_table(name, settings.title, methods, shown, evaluations, metric, about(study, trained))
            write_markdown(directory / f"{name}.md", table)
            write_latex(directory / f"{name}.tex", table)
    console.print(f"{suite}: {len(comparisons)} differences from bases in {paths.significance(suite)}")
