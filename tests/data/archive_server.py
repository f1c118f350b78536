"""A server of one file on this machine that misbehaves on demand."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

NAME = "archive.tar.gz"


@dataclass
class ArchiveServer:
    """What the server gives, and what it was asked for.

    Attributes:
        content: the file.
        cuts: for the first answers, after how many bytes the connection breaks.
        statuses: for the first answers, an error instead of the file.
        knows_ranges: whether parts of the file can be asked for.
        always_partial: whether the whole file is announced as a part, too.
        pause: seconds after every thousand bytes.
        ranges: the `Range` header of every request.
        url: the address of the file.
    """

    content: bytes
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    knows_ranges: bool = True
    always_partial: bool = False
    pause: float = 0
    ranges: list[str | None] = field(default_factory=list)
    url: str = ""

    def answer(self, asked: str | None) -> tuple[int, bytes]:
        """Status and body for a request with this `Range` header."""
        self.ranges.append(asked)
        if self.statuses:
            return self.statuses.pop(0), b""
        if asked is None or not self.knows_ranges:
            return (206 if self.always_partial else 200), self.content
        rest = self.content[int(asked.removeprefix("bytes=").removesuffix("-")) :]
        return (206, rest) if rest else (416, b"")


@contextmanager
def serving(server: ArchiveServer) -> Iterator[ArchiveServer]:
    """Runs the server until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = server.answer(self.headers["Range"])
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(ConnectionError):  # who does not want the file hangs up
                body = body[: server.cuts.pop(0)] if server.cuts else body
                step = 1000 if server.pause else max(len(body), 1)
                for start in range(0, len(body), step):
                    self.wfile.write(body[start : start + step])
                    time.sleep(server.pause)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_port}/files/{NAME}"
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
