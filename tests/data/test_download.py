"""Downloads: resumed, verified, and under their final name only when they are right."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fairat.console import Terminal
from fairat.data import download
from fairat.data.download import BLOCK, fetch, locate
from fairat.errors import UserError
from fairat.progress import told_to
from fairat.settings.data import Cifar10
from pydantic import ValidationError

from tests.data.archive_server import NAME, ArchiveServer, serving

CONTENT = hashlib.shake_256(b"an archive").digest(700_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
HALF = 5 * BLOCK
AT_ONCE = (0.0, 0.0)


@pytest.fixture
def server() -> Iterator[ArchiveServer]:
    with serving(ArchiveServer(CONTENT)) as running:
        yield running


def left_in(directory: Path) -> set[str]:
    """The files there, without the lock."""
    return {path.name for path in directory.iterdir() if path.suffix != ".lock"}


def test_a_download_gives_the_file_and_both_of_its_hashes(server: ArchiveServer, tmp_path: Path) -> None:
    path, record = fetch(server.url, tmp_path / "cache", MD5)
    assert path == tmp_path / "cache" / NAME
    assert path.read_bytes() == CONTENT
    assert (record.name, record.md5, record.sha256) == (NAME, MD5, hashlib.sha256(CONTENT).hexdigest())
    assert left_in(tmp_path / "cache") == {NAME}


def test_what_is_there_already_is_not_fetched_again(server: ArchiveServer, tmp_path: Path) -> None:
    assert fetch(server.url, tmp_path, MD5) == fetch(server.url, tmp_path, MD5)
    assert len(server.ranges) == 1


def test_a_damaged_file_in_the_cache_is_replaced(
    server: ArchiveServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / NAME).write_bytes(CONTENT[:-1] + b"?")
    with told_to(Terminal()):
        path, _ = fetch(server.url, tmp_path, MD5)
    assert path.read_bytes() == CONTENT
    assert "it is fetched anew" in capsys.readouterr().out


def test_a_connection_that_breaks_half_way_goes_on_where_it_stopped(server: ArchiveServer, tmp_path: Path) -> None:
    server.cuts = [HALF, BLOCK]
    path, _ = fetch(server.url, tmp_path, MD5, waits=AT_ONCE)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={HALF}-", f"bytes={HALF + BLOCK}-"]


def test_a_server_that_gives_no_parts_is_asked_for_the_whole(server: ArchiveServer, tmp_path: Path) -> None:
    server.cuts, server.knows_ranges = [HALF], False
    path, _ = fetch(server.url, tmp_path, MD5, waits=AT_ONCE)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_a_download_that_gives_up_keeps_what_it_has_for_the_next_command(server: ArchiveServer, tmp_path: Path) -> None:
    server.cuts = [HALF, 0, 0]
    with pytest.raises(
        UserError, match=r"stopped: .*0\.3 MB are kept: the same command goes on from there\. Put the file at "
    ):
        fetch(server.url, tmp_path, MD5, waits=AT_ONCE)
    assert left_in(tmp_path) == {f"{NAME}.part"}
    path, _ = fetch(server.url, tmp_path, MD5)
    assert path.read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={HALF}-"


def test_attempts_that_get_further_do_not_use_up_the_patience(server: ArchiveServer, tmp_path: Path) -> None:
    server.cuts = [BLOCK] * 10
    path, _ = fetch(server.url, tmp_path, MD5, waits=(0.0,))
    assert path.read_bytes() == CONTENT
    assert len(server.ranges) == 11


def test_a_download_stopped_just_before_its_last_rename_is_finished(server: ArchiveServer, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT)
    path, _ = fetch(server.url, tmp_path, MD5)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


def test_a_corrupted_download_is_refused_deleted_and_can_be_repeated(server: ArchiveServer, tmp_path: Path) -> None:
    server.content = CONTENT[:HALF] + b"?" + CONTENT[HALF + 1 :]
    with pytest.raises(
        UserError, match=rf"gave a file with the MD5 [0-9a-f]{{32}}, but .* {MD5}\. It was deleted\. Run the"
    ):
        fetch(server.url, tmp_path, MD5)
    assert left_in(tmp_path) == set()
    server.content = CONTENT
    path, _ = fetch(server.url, tmp_path, MD5)
    assert path.read_bytes() == CONTENT


def test_a_missing_file_is_told_at_once(server: ArchiveServer, tmp_path: Path) -> None:
    server.statuses = [404] * 3
    with pytest.raises(UserError, match=r"answered 404 Not Found\. Put the file at .*archive\.tar\.gz, from elsewhere"):
        fetch(server.url, tmp_path, MD5, waits=AT_ONCE)
    assert len(server.ranges) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server: ArchiveServer, tmp_path: Path, status: int) -> None:
    server.statuses = [status]
    path, _ = fetch(server.url, tmp_path, MD5, waits=AT_ONCE)
    assert path.read_bytes() == CONTENT


def test_a_server_that_is_not_there_is_named_with_the_way_around_it(tmp_path: Path) -> None:
    with serving(ArchiveServer(CONTENT)) as gone:
        pass
    with pytest.raises(UserError, match=rf"{gone.url} stopped: .*refused") as caught:
        fetch(gone.url, tmp_path, MD5, waits=AT_ONCE)
    assert str(caught.value).endswith(
        f" Put the file at {tmp_path / NAME}, from elsewhere, and run the command again; or check the connection."
    )
    assert left_in(tmp_path) == set()
    (tmp_path / NAME).write_bytes(CONTENT)
    assert fetch(gone.url, tmp_path, MD5)[0] == tmp_path / NAME


def test_a_download_that_is_always_slow_ends_and_keeps_what_it_has(
    server: ArchiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "STALL_SECONDS", 0.1)
    monkeypatch.setattr(download, "SLOWEST", 1_000_000)
    server.pause = 0.01
    with pytest.raises(
        UserError, match=r"stopped: only [\d,]+ bytes came in 0 s\. 0\.\d MB are kept: the same command"
    ):
        fetch(server.url, tmp_path, MD5, waits=AT_ONCE)
    assert len(server.ranges) == 1 + len(AT_ONCE)
    assert left_in(tmp_path) == {f"{NAME}.part"}
    server.pause = 0
    path, _ = fetch(server.url, tmp_path, MD5)
    assert path.read_bytes() == CONTENT
    assert server.ranges[-1] != server.ranges[0] is None


def test_a_download_that_is_just_fast_enough_goes_on(
    server: ArchiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content = CONTENT[:30_000]
    monkeypatch.setattr(download, "STALL_SECONDS", 0.05)
    monkeypatch.setattr(download, "SLOWEST", 100)
    server.pause = 0.01
    fetch(server.url, tmp_path, hashlib.md5(server.content).hexdigest(), waits=())
    assert server.ranges == [None]


def test_a_download_that_cannot_fit_is_not_begun(
    server: ArchiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: SimpleNamespace(free=100_000))
    with pytest.raises(UserError, match=r"needs 0\.7 MB more, but .* has 0\.1 MB free\. Free some space"):
        fetch(server.url, tmp_path, MD5)
    assert left_in(tmp_path) == set()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_disk_that_fills_up_meanwhile_is_explained(server: ArchiveServer, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").symlink_to("/dev/full")
    server.always_partial = True  # the answer to a request for the whole would start with a fresh partial file
    with pytest.raises(UserError, match=r"No space is left .* What has come is kept, and the download goes on"):
        fetch(server.url, tmp_path, MD5)
    assert NAME not in left_in(tmp_path)


def test_a_copy_of_the_user_s_is_used_without_a_network(tmp_path: Path) -> None:
    own = tmp_path / "own.tar.gz"
    own.write_bytes(CONTENT)
    path, record = locate(Cifar10(archive=own, md5=MD5), tmp_path / "cache")
    assert (path, record.name, record.md5) == (own, "own.tar.gz", MD5)
    assert not (tmp_path / "cache").exists()


def test_a_copy_with_another_hash_is_refused_with_both_hashes(tmp_path: Path) -> None:
    own = tmp_path / "own.tar.gz"
    own.write_bytes(b"another file")
    actual = hashlib.md5(b"another file").hexdigest()
    with pytest.raises(UserError, match=rf"own\.tar\.gz has the MD5 {actual}, but the official .* {MD5}.*or set `md5`"):
        locate(Cifar10(archive=own, md5=MD5), tmp_path)
    assert own.read_bytes() == b"another file"


def test_a_copy_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"There is no archive .*own\.tar\.gz\. Correct `archive` in the source, or leave it"
    ):
        locate(Cifar10(archive=tmp_path / "own.tar.gz"), tmp_path)


@pytest.mark.parametrize("url", ["https://host", "https://host/", "https://host/folder/", "ftp://host/a.tar", "a.tar"])
def test_an_address_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="is not the address of a file; write one such as https://host/"):
        Cifar10(url=url)


def test_the_name_of_a_file_ends_before_its_query(server: ArchiveServer, tmp_path: Path) -> None:
    path, _ = fetch(f"{server.url}?download=1", tmp_path, MD5)
    assert path.name == NAME
