"""A warm process: a command that is handed over to it behaves as one that was started."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from fairat.tools import warm

STAGES = """
    import os, signal, sys, time
    from pathlib import Path
    from fairat.tools import warm

    if (status := warm.handed_over()) is not None:
        sys.exit(status)
    match sys.argv[1]:
        case "tell":
            print(sys.argv[2], Path.cwd().name, os.environ["COLOR"], "torch" in sys.modules, warm.SOCKET in os.environ)
            print("aside", file=sys.stderr)
            sys.exit(3)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "wait":
            try:
                Path("waiting").touch()
                time.sleep(60)
            except KeyboardInterrupt:
                print("interrupted")
                sys.exit(130)
"""

DRIVER = """
    import os, signal, subprocess, sys, time
    from pathlib import Path

    def stage(*arguments):
        return subprocess.Popen([sys.executable, "-m", "stages", *arguments], env={**os.environ, "COLOR": "green"})

    signal.signal(signal.SIGINT, signal.default_int_handler)  # wherever these tests run, Ctrl-C reaches a stage
    print(stage("tell", "it").wait(), stage("die").wait(), flush=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        Path("waiting").unlink(missing_ok=True)
        waiting = stage("wait")
        while not Path("waiting").exists():
            assert waiting.poll() is None
            time.sleep(0.05)
        waiting.send_signal(number)
        print(waiting.wait(), flush=True)
    time.sleep(1)
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "__init__.py").touch()  # a package wherever else there may be one of this name
    (tmp_path / "stages" / "__main__.py").write_text(textwrap.dedent(STAGES))
    (tmp_path / "driver.py").write_text(textwrap.dedent(DRIVER))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_stage_in_a_warm_process_has_its_arguments_place_outputs_and_end(
    directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its exit status, a kill and Ctrl-C reach the caller; a caller that is terminated takes its stage with it."""
    assert warm.run([sys.executable, "driver.py"]) == 0
    said, aside = capfd.readouterr()
    *first, last, other = said.splitlines()
    assert first == [f"it {directory.name} green True False", "3 247", "interrupted", "130"]
    assert {last, other} == {"-15", "interrupted"}
    assert aside == "aside\n"


def test_without_a_warm_process_the_command_runs_by_itself(directory: Path) -> None:
    environment = {**os.environ, "COLOR": "red", warm.SOCKET: "/nothing/listens/here"}
    told = subprocess.run(
        [sys.executable, "-m", "stages", "tell", "it"], env=environment, capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stdout) == (3, f"it {directory.name} red False True\n")
