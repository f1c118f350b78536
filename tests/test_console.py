"""What stages print: errors in one paragraph, progress in bars or lines."""

import pytest
from fairat import console
from fairat.errors import Hint, UserError

from stages.__main__ import main


def test_a_user_error_is_one_paragraph_without_traceback_and_status_1(capsys) -> None:
    def main() -> None:
        raise UserError("data/[demo] is missing. Make it.")

    with pytest.raises(SystemExit) as stopped:
        console.run_app(main)
    assert stopped.value.code == 1
    assert capsys.readouterr().err == "Error: data/[demo] is missing. Make it.\n"


def test_a_hint_is_said_as_a_command_and_every_hint_has_one(capsys) -> None:
    def main() -> None:
        raise UserError("There is no evidence.", Hint.MAKE)

    with pytest.raises(SystemExit):
        console.run_app(main)
    assert capsys.readouterr().err == "Error: There is no evidence. `dvc repro` makes what is missing.\n"
    assert set(console.COMMANDS) == set(Hint)


def test_without_a_terminal_progress_is_a_line_now_and_then_with_rate_and_time_left(monkeypatch, capsys) -> None:
    clock = iter(float(second) for second in range(0, 1000, 20))
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    with console.progress("cifar10-at-s0", 1000, unit="images", aside=lambda: "peak memory 1.2 GiB") as advance:
        advance(100, "epoch 3")
        for _ in range(9):
            advance(100, "")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "cifar10-at-s0: 400 of 1,000 images, 5/s, 0:02:00 left, peak memory 1.2 GiB, epoch 3",
        "cifar10-at-s0: 800 of 1,000 images, 5/s, 0:00:40 left, peak memory 1.2 GiB, epoch 3",
    ]


def test_an_unknown_stage_names_the_nearest_and_all(monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["stages", "trian", "demo/at/s0"])
    with pytest.raises(SystemExit):
        console.run_app(main)
    assert capsys.readouterr().err == (
        "Error: There is no stage 'trian'. Did you mean train? The stages are: aggregate, corrupt, demo, evaluate, "
        "fingerprint, paper, prepare, report, significance, tables, train.\n"
    )
