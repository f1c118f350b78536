"""Archives from the network: resumed where they stopped, and under their final name only once they are verified."""

import hashlib
import shutil
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fairat.data.canonical import ArchiveRecord
from fairat.errors import UserError
from fairat.files import disk_space_explained
from fairat.progress import progress, say
from fairat.settings.data import Archive

if TYPE_CHECKING:
    from requests import Response

BLOCK = 1 << 16
"""Bytes written at once, at most."""

STALL_SECONDS = 60.0
"""How long a download may be slow before the connection counts as broken."""

SLOWEST = 1024
"""Bytes per second below which a download is slow: 170 MB would take two days."""


def locate(source: Archive, directory: Path) -> tuple[Path, ArchiveRecord]:
    """The archive of a source: the user's own copy if the source names one, otherwise from the cache or the network.

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
    record = record_of(source.archive)
    if record.md5 != source.md5:
        raise UserError(
            f"{source.archive} has the MD5 {record.md5}, but the official archive has {source.md5}: it is damaged, or "
            f"another file. Leave `archive` out of the source: then {source.url} is fetched; or set `md5` to the hash of "
            "your file if you trust it."
        )
    return source.archive, record


def fetch(
    url: str, directory: Path, md5: str, *, waits: tuple[float, ...] = (1, 2, 4, 8, 16)
) -> tuple[Path, ArchiveRecord]:
    """Downloads an archive unless it is there under the last part of its `url`.

    What a cut leaves is kept as `<name>.part`, and resumed by the next call; `waits` are seconds before each further
    attempt that brings nothing new.

    Raises:
        UserError: the server does not have the file, cannot be reached or stays slow, the file has another hash, or the disk
            is full.
    """
    from filelock import FileLock

    directory.mkdir(parents=True, exist_ok=True)
    path = directory / PurePosixPath(urlsplit(url).path).name
    part = path.with_name(f"{path.name}.part")
    # Two suites on one data set may be prepared at once: the second waits, and finds the file.
    with FileLock(path.with_name(f".{path.name}.lock")):
        if path.exists():
            if (record := record_of(path)).md5 == md5:
                return path, record
            say(f"{path} has the MD5 {record.md5}, not {md5}: it is fetched anew.")
        _complete(url, part, waits)
        record = record_of(part).model_copy(update={"name": path.name})
        if record.md5 != md5:
            part.unlink()
            raise UserError(
                f"{url} gave a file with the MD5 {record.md5}, but the official archive has {md5}. It was deleted. Run the "
                "command again to fetch it anew; if this happens twice, put the file at {path}, from elsewhere."
            )
        part.replace(path)
    return path, record


def record_of(path: Path) -> ArchiveRecord:
    """The name and the hashes of an archive, read once."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
            md5.update(block)
    return ArchiveRecord(name=path.name, sha256=sha256.hexdigest(), md5=md5.hexdigest())


def _complete(url: str, part: Path, waits: tuple[float, ...]) -> None:
    """Attempts until the partial file is complete, or until several attempts in a row brought nothing new, or little."""
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    furthest, left = _size(part), iter(waits)
    while True:
        try:
            return _attempt(url, part)
        except _SlowError as error:
            # What it brought does not renew the patience, or a download that is always slow would never end.
            answer, reason, furthest = None, f"The download of {url} stopped: {error}.", _size(part)
        except (RequestException, HTTPError) as error:
            answer = error.response if isinstance(error, RequestException) else None
            cause: BaseException = error
            while cause.__context__:
                cause = cause.__context__
            reason = f"The download of {url} stopped: {str(cause) or type(cause).__name__}."
        if answer is not None:
            reason = f"{url} answered {answer.status_code} {answer.reason}."
            if not (answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status_code in (408, 429)):
                raise UserError(f"{reason} {_elsewhere(part)}")  # asking again would not help
        if _size(part) > furthest:
            furthest, left = _size(part), iter(waits)
        wait = next(left, None)
        if wait is None:
            kept = f"{_size(part) / 1e6:,.1f} MB are kept: the same command goes on from there. " if _size(part) else ""
            raise UserError(f"{reason} {kept}{_elsewhere(part)}")
        say(f"{reason} Trying again in {wait:.0f} s.")
        time.sleep(wait)


def _elsewhere(part: Path) -> str:
    """The easiest remedy first: a file that is there is used if it has the right hash."""
    return (
        f"Put the file at {part.with_suffix('')}, from elsewhere, and run the command again; or check the connection."
    )


def _attempt(url: str, part: Path) -> None:
    """Asks for what is missing of the partial file; starts anew where the server does not give parts."""
    import requests

    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={_size(part)}-"} if _size(part) else {})
    # Seconds to wait for a connection, and for the next bytes.
    with requests.get(url, headers=headers, stream=True, timeout=(10, 60)) as response:
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            # There is nothing behind the partial file: it is complete, which its hash will tell.
            return
        response.raise_for_status()
        if response.status_code != HTTPStatus.PARTIAL_CONTENT:
            part.unlink(missing_ok=True)
        there, missing = _size(part), int(response.headers.get("Content-Length", 0))
        free = shutil.disk_usage(part.parent).free
        if free < missing:
            raise UserError(
                f"{part.stem} needs {missing / 1e6:,.1f} MB more, but {part.parent} has {free / 1e6:,.1f} MB free. Free "
                "some space and run the command again, or name a copy on another disk in the source as `archive`."
            )
        description = f"resuming {part.stem} at {there / 1e6:,.1f} MB" if there else f"fetching {part.stem}"
        say(f"{description} ({(there + missing) / 1e6:,.1f} MB)")
        with (
            disk_space_explained(part, "What has come is kept, and the download goes on from there"),
            part.open("ab") as file,
            progress(description, missing / 1e6, unit="MB") as advance,
        ):
            for block in _while_fast(response):
                file.write(block)
                advance(len(block) / 1e6, "")


class _SlowError(Exception):
    """A download that would take days."""


def _while_fast(response: "Response") -> Iterator[bytes]:
    """What comes, as soon as it comes: a whole block of a server that is slow could take for ever."""
    came, since = 0, time.monotonic()
    while block := response.raw.read1(BLOCK):
        yield block
        came, passed = came + len(block), time.monotonic() - since
        if passed >= STALL_SECONDS:
            if came < SLOWEST * passed:
                raise _SlowError(f"only {came:,} bytes came in {passed:.0f} s")
            came, since = 0, time.monotonic()


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
