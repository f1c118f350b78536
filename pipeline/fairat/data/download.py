"""Archives from the network: resumed where they stopped, and under their final name only once they are verified."""

import shutil
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from fairat.data.archives import hashes
from fairat.data.canonical import ArchiveRecord
from fairat.errors import UserError
from fairat.files import disk_space_explained
from fairat.progress import progress, say
from fairat.settings.data import Archive

WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds between attempts that bring nothing new; then the download gives up."""

BLOCK = 1 << 16
"""Bytes written at once; a cut loses a block that has not come whole."""

TIMEOUT = (10.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""


def locate(source: Archive, directory: Path) -> tuple[Path, ArchiveRecord]:
    """The archive of a source: the user's own copy if the source names one, otherwise from the cache or the network.

    Args:
        source: its `archive`, `url` and `md5` are used.
        directory: the cache of downloads.

    Raises:
        UserError: the copy is missing or has another hash; or as `fetch`.
    """
    if source.archive is None:
        return fetch(source.url, directory, source.md5)
    if not source.archive.is_file():
        raise UserError(
            f"There is no archive {source.archive}. Correct `archive` in the source, or leave it out: then {source.url} "
            "is fetched."
        )
    record = _record(source.archive, source.archive.name)
    if record.md5 != source.md5:
        raise UserError(
            f"{source.archive} has the MD5 {record.md5}, but the official archive has {source.md5}: it is damaged, or "
            f"another file. Leave `archive` out of the source: then {source.url} is fetched; or set `md5` to the hash of "
            "your file if you trust it."
        )
    return source.archive, record


def fetch(url: str, directory: Path, md5: str, *, waits: tuple[float, ...] = WAITS) -> tuple[Path, ArchiveRecord]:
    """Downloads an archive unless it is there; what a cut leaves is kept as `<name>.part`, and resumed by the next call.

    Args:
        url: its last part is the name of the file.
        directory: where archives are kept.
        md5: of the right file.
        waits: seconds before each further attempt; starts over whenever an attempt gets further than all before.

    Raises:
        UserError: the server does not have the file or cannot be reached, the file has another hash, or the disk is full.
    """
    from filelock import FileLock

    directory.mkdir(parents=True, exist_ok=True)
    path = directory / PurePosixPath(urlsplit(url).path).name
    part = path.with_name(f"{path.name}.part")
    # Two suites on one data set may be prepared at once: the second waits, and finds the file.
    with FileLock(path.with_name(f".{path.name}.lock")):
        if path.exists():
            if (record := _record(path, path.name)).md5 == md5:
                return path, record
            say(f"{path} has the MD5 {record.md5}, not {md5}: it is fetched anew.")
        _complete(url, part, waits)
        record = _record(part, path.name)
        if record.md5 != md5:
            part.unlink()
            raise UserError(
                f"{url} gave a file with the MD5 {record.md5}, but the official archive has {md5}. It was deleted. Run the "
                "command again to fetch it anew; if this happens twice, fetch the archive elsewhere and name it in the "
                "source as `archive`."
            )
        part.replace(path)
    return path, record


def _record(path: Path, name: str) -> ArchiveRecord:
    sha256, md5 = hashes(path)
    return ArchiveRecord(name=name, sha256=sha256, md5=md5)


def _complete(url: str, part: Path, waits: tuple[float, ...]) -> None:
    """Attempts until the partial file is complete, or until several attempts in a row brought nothing new."""
    from requests import RequestException

    furthest, left = _size(part), iter(waits)
    while True:
        try:
            return _attempt(url, part)
        except _Refusal as refusal:
            reason = f"{url} answered {refusal}."
            if not refusal.passing:
                raise UserError(f"{reason} {_elsewhere()}") from None
        except RequestException as error:
            reason = f"The download of {url} stopped: {_innermost(error)}."
        if _size(part) > furthest:
            furthest, left = _size(part), iter(waits)
        wait = next(left, None)
        if wait is None:
            kept = f"{_size(part) / 1e6:,.1f} MB are kept: the same command goes on from there. " if _size(part) else ""
            raise UserError(f"{reason} {kept}{_elsewhere()}")
        say(f"{reason} Trying again in {wait:.0f} s.")
        time.sleep(wait)


def _attempt(url: str, part: Path) -> None:
    """Asks for what is missing of the partial file; starts anew where the server does not give parts."""
    import requests

    headers = {"Accept-Encoding": "identity"}
    if there := _size(part):
        headers["Range"] = f"bytes={there}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            # There is nothing behind the partial file: it is complete, which its hash will tell.
            return
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            raise _Refusal(response.status_code, response.reason)
        if response.status_code != HTTPStatus.PARTIAL_CONTENT:
            part.unlink(missing_ok=True)
        with disk_space_explained(part, "What has come is kept, and the download goes on from there"):
            _receive(response.iter_content(BLOCK), int(response.headers.get("Content-Length", 0)), part)


class _Refusal(Exception):
    """A server's answer that is not the file."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        # A later attempt may fare better.
        self.passing = (
            status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
            or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        )


def _receive(blocks: Iterator[bytes], length: int, part: Path) -> None:
    """Appends `length` bytes to the partial file."""
    free = shutil.disk_usage(part.parent).free
    if free < length:
        raise UserError(
            f"{part.stem} needs {length / 1e6:,.1f} MB more, but {part.parent} has {free / 1e6:,.1f} MB free. Free some "
            "space and run the command again, or name a copy on another disk in the source as `archive`."
        )
    there = _size(part)
    description = f"resuming {part.stem} at {there / 1e6:,.1f} MB" if there else f"fetching {part.stem}"
    say(f"{description} ({(there + length) / 1e6:,.1f} MB)")
    with part.open("ab") as file, progress(description, length / 1e6, unit="MB") as advance:
        for block in blocks:
            file.write(block)
            advance(len(block) / 1e6, "")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _innermost(error: BaseException) -> str:
    while error.__context__:
        error = error.__context__
    return str(error) or type(error).__name__


def _elsewhere() -> str:
    return "Check the connection; or fetch the archive in another way and name your copy in the source as `archive`."
