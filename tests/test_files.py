"""Files as a whole: read with an error that names them, written wholly or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from intact._base.errors import FormatError, ParameterError
from intact._base.files import named_errors, read_text, write_whole


def test_what_was_there_stays_until_all_of_the_new_is(tmp_path: Path) -> None:
    file = tmp_path / "told.json"
    write_whole(file, "old")

    def failing() -> Iterator[str]:
        yield "ne"
        write_whole(file, ["of another ", "writer"])  # in the midst of this one
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        write_whole(file, failing())
    assert file.read_text() == "of another writer"
    write_whole(file, iter(["n", "ew"]))
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def test_texts_and_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", [b"\r\n\xff", "\u00e9\n"])
    assert (tmp_path / "file").read_bytes() == b"\r\n\xff\xc3\xa9\n"


def test_what_a_link_points_to_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    file = tmp_path / "file"
    file.symlink_to(tmp_path / "mine")
    write_whole(file, "new")
    assert (file.read_text(), file.is_symlink(), (tmp_path / "mine").read_text()) == ("new", False, "mine")


def test_an_error_names_the_file_and_not_its_part(tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "told.json"
    with pytest.raises(FileNotFoundError) as caught:
        write_whole(file, "new")
    assert caught.value.filename == str(file)


def test_a_text_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("é\n", "utf-8")
    assert read_text(tmp_path / "text") == "é\n"
    with pytest.raises(ParameterError, match=r"absent cannot be read: No such file"):
        read_text(tmp_path / "absent", ParameterError)
    (tmp_path / "latin").write_bytes(b"\xe9")
    with pytest.raises(FormatError, match=r"latin cannot be read: 'utf-8' codec"):
        read_text(tmp_path / "latin")


def test_a_full_disk_names_the_file_and_nothing_of_it_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")  # as `write` says it: without a name

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as found:
        write_whole(tmp_path / "run.jsonl", "text")
    assert found.value.filename == str(tmp_path / "run.jsonl")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_an_error_without_a_name_gets_that_of_the_file_and_others_keep_theirs() -> None:
    with pytest.raises(OSError, match="No space left") as full, named_errors(Path("/dev/full")):
        Path("/dev/full").write_text("text")
    assert full.value.filename == "/dev/full"
    with pytest.raises(FileNotFoundError) as absent, named_errors(Path("/dev/full")):
        Path("/nowhere/x").read_text()
    assert absent.value.filename == "/nowhere/x"
    with pytest.raises(OSError, match=r"^no number$"), named_errors(Path("/dev/full")):
        raise OSError("no number")
