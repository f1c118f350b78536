"""A process that has imported the libraries and forks for every stage, which so starts at once.

`fairat warm COMMAND` keeps one for as long as the command runs. `python -m stages` finds it in the environment and hands over
its arguments, directory, environment and output. Only libraries are imported beforehand: each fork reads the project's
own code.
"""

import gc
import json
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import wait
from pathlib import Path
from typing import cast

SOCKET = "FAIRAT_WARM"
"""The environment variable with the path of the socket on which the warm process listens."""

FORK = multiprocessing.get_context("fork")
OUTPUTS = (1, 2)

LIBRARIES = (
    "torch",
    "sklearn.datasets",
    "scipy.ndimage",
    "safetensors.torch",
    "pandas",
    "pyarrow.parquet",
    "typer",
    "mlflow",
    "torch._dynamo",
    "mlflow.store.tracking.sqlalchemy_store",
    "matplotlib.backends.backend_pdf",
    "matplotlib.backends.backend_agg",
)
"""What stages import, with what these import, in the order of the graph. torch imports its compiler when training begins."""


def run(command: Sequence[str]) -> int:
    """Runs a command whose stages start from a warm process; gives its exit status."""
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listener:
        path = str(Path(directory, "warm"))
        listener.bind(path)
        listener.listen(64)
        os.set_inheritable(listener.fileno(), True)
        server = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(listener.fileno())],
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches a stage through its client
        )
        try:
            return subprocess.call(command, env={**os.environ, SOCKET: path})
        finally:
            server.terminate()
            server.wait()


def handed_over() -> int | None:
    """Lets the warm process run this command; gives its exit status, or None where no such process listens."""
    environment = dict(os.environ)
    path = environment.pop(SOCKET, None)
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path or "")
        except OSError:
            return None
        request = {"arguments": sys.argv[1:], "directory": str(Path.cwd()), "environment": environment}
        socket.send_fds(connection, [b"\n"], OUTPUTS)
        connection.sendall(json.dumps(request).encode() + b"\n")
        try:
            status = connection.recv(16)
        except KeyboardInterrupt:
            connection.shutdown(socket.SHUT_WR)  # which interrupts the stage
            status = connection.recv(16)
    if not status:
        sys.stderr.write("The warm process that ran this stage was killed.\n")
    return int(status or 1)


def serve(listener: socket.socket) -> None:
    """Forks for every command that is handed over, until the process that started this one is gone.

    A command that comes before all libraries are there is not kept waiting: it imports the rest itself.
    """
    parent, missing = os.getppid(), list(LIBRARIES)
    while os.getppid() == parent:
        listener.settimeout(0 if missing else 1)
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, TimeoutError):
            if missing:
                import_module(missing.pop(0))
            continue
        gc.freeze()  # a fork shares these pages as long as it does not look through them for garbage
        with connection:
            FORK.Process(target=_attend, args=(connection,)).start()


def _attend(connection: socket.socket) -> None:
    """Runs one command in a fork; tells the client how it ended, and interrupts it when the client is gone."""
    connection.setblocking(True)
    _, files, _, _ = socket.recv_fds(connection, 1, len(OUTPUTS))
    stage = FORK.Process(target=_become, args=(json.loads(connection.makefile().readline()), files))
    stage.start()
    for file in files:
        os.close(file)
    if wait([stage.sentinel, connection]) == [connection]:
        os.kill(cast(int, stage.pid), signal.SIGINT)
    stage.join()
    with suppress(BrokenPipeError):
        connection.sendall(str(cast(int, stage.exitcode) % 256).encode())


def _become(request: dict, files: Sequence[int]) -> None:
    """What `python -m stages` does, as if it had been started with the client's arguments, directory, environment and files."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs are born without
    for number, file in zip(OUTPUTS, files, strict=True):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[0] = request["directory"]
    sys.argv[1:] = request["arguments"]
    runpy.run_module("stages", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
