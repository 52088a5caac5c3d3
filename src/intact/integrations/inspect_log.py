"""inspect_ai's ``.eval`` logs, read as untrusted files: their samples, and the Merkle tree over them.

A log is a ZIP archive with a JSON file for each sample and epoch. Sizes are bounded before anything is parsed.

The Merkle tree of a log (RFC 6962) has a leaf for each sample, ``SHA-256(0x00, file name, LF, content)``. Leaves are
ordered by epoch, then by place in the data set, so the root does not depend on the order in which samples ended.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

from intact._base.errors import LogError
from intact._base.packages import check_installed
from intact._base.strict_json import parse
from intact.integrations.inspect_sample import LogFault, LoggedSample, SampleName, mapping_of, require_members
from intact.receipts.canonical import digest
from intact.receipts.identity import path_of, root_of

MOST_MEMBERS: Final = 1 << 20
MOST_BYTES: Final = 1 << 28
"""Maximum bytes of a member of the archive, unpacked."""
_STORED, _DEFLATED, _ZSTANDARD = 0, 8, 93
_LOCAL: Final = struct.Struct("<4s22xHH")
"""The beginning of a member: signature, and the lengths of its name and of an extra field."""
_PART: Final = 1 << 20
"""Bytes unpacked at a time."""
_LEAF: Final = b"\0"


class InspectLog:
    """An ``.eval`` log, opened for reading.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    LogError
        If it is not such a log.

    Attributes
    ----------
    expected : list of SampleName
        The samples that the header announces, ordered by epoch and then by place in the data set.
    members : list of str
        The files of samples that are there, in the file's order.
    status : str
        The status in the header.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._archive = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise LogError(f"{path} is no .eval log: {error!s:.200}") from error
        self.path = path
        names = self._archive.namelist()
        if len(names) > MOST_MEMBERS:
            raise LogError(f"{path} has {len(names):,} members; at most {MOST_MEMBERS:,} are read")
        self.members = [name for name in names if name.startswith("samples/")]
        self._double = sorted(name for name, count in Counter(names).items() if count > 1)
        if "header.json" not in names:
            raise LogError(f"{path} has no header.json: it is not a finished log of inspect_ai in the .eval format")
        header = self._json("header.json")
        require_members(header, "header.json", {"eval": dict, "status": str})
        self.status, self._spec = header["status"], header["eval"]
        dataset = mapping_of(self._spec.get("dataset"), "header.json: eval.dataset")
        ids = dataset.get("sample_ids")
        if not isinstance(ids, list) or not all(isinstance(one, int | str) for one in ids):
            raise LogError(f"{path}: eval.dataset.sample_ids of header.json must be a list of ids")
        epochs = mapping_of(self._spec.get("config"), "header.json: eval.config").get("epochs") or 1
        if not isinstance(epochs, int) or not 0 < epochs * max(1, len(ids)) <= MOST_MEMBERS:
            raise LogError(f"{path}: eval.config.epochs of header.json must be a positive number, got {epochs!r:.40}")
        self.expected = [SampleName(one, epoch) for epoch in range(1, epochs + 1) for one in ids]

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, member: str) -> bytes:
        """Return a member's content.

        Raises
        ------
        LogError
            If it is too large, damaged, or compressed in an unknown way.
        """
        info = self._archive.getinfo(member)
        try:
            if info.compress_type == _ZSTANDARD:
                data = self._unpack(info)
            elif info.compress_type in (_STORED, _DEFLATED):
                with self._archive.open(info) as file:
                    data = file.read(MOST_BYTES + 1)
            else:
                raise LogError(f"{self.path}: {member} is compressed by the unknown method {info.compress_type}")
        except (OSError, zipfile.BadZipFile, EOFError, ValueError, RuntimeError, struct.error) as error:
            if isinstance(error, LogError):
                raise
            raise LogError(f"{self.path}: {member} is damaged: {error!s:.200}") from error
        if len(data) > MOST_BYTES:
            raise LogError(f"{self.path}: {member} has more than {MOST_BYTES:,} bytes")
        return data

    def samples(self) -> Iterator[LoggedSample | LogFault]:
        """Yield the samples in the order of `expected`, and a fault for each that is missing or misplaced."""
        for name in self.expected:
            if name.member not in self._there:
                if self.status == "success":
                    yield LogFault(str(name), "the header lists it, but its file is missing")
                continue
            sample = LoggedSample(name.member, self.read(name.member))
            if sample.name != name:
                yield LogFault(str(name), f"its file {name.member!r:.100} has {sample.name}: samples were exchanged")
            else:
                yield sample

    def faults(self) -> Iterator[LogFault]:
        """Yield contradictions between the archive's list of samples, its header, its journal and its summaries."""
        announced = {name.member for name in self.expected}
        for member in self._double:
            yield LogFault(f"{member:.100}", "it is in the archive twice")
        for member in self.members:
            if member not in announced:
                yield LogFault(f"{member:.100}", "the header does not list this sample")
        names = self._archive.namelist()
        if "_journal/start.json" in names:
            journal = mapping_of(self._json("_journal/start.json"), "start.json")
            start = mapping_of(journal.get("eval"), "start.json: eval")
            for name in ("dataset", "model", "task", "eval_id"):
                if start.get(name) != self._spec.get(name):
                    yield LogFault("header.json", f"its eval.{name} is not that of _journal/start.json")
        if "summaries.json" in names:
            listed = self._json("summaries.json")
            if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
                raise LogError(f"{self.path}: summaries.json must be a list of objects")
            order = [f"samples/{one.get('id')}_epoch_{one.get('epoch')}.json" for one in listed]
            if sorted(order) != sorted(self.members):
                yield LogFault("summaries.json", "it lists other samples than the archive has")
            elif order != self.members:
                yield LogFault("summaries.json", "it lists the samples in another order than the archive has them")

    @cached_property
    def leaves(self) -> list[bytes]:
        """The leaves of the log's Merkle tree: one for each sample that is there, in the order of `expected`."""
        return [
            digest("sha256", _LEAF, f"{name.member}\n".encode("utf-8", "surrogatepass"), self.read(name.member))
            for name in self.expected
            if name.member in self._there
        ]

    @property
    def root(self) -> bytes | None:
        """The root of the log's Merkle tree; None if there are no samples."""
        return root_of("sha256", self.leaves) if self.leaves else None

    def path_to_root(self, index: int) -> list[bytes]:
        """Return the digests that prove that a leaf belongs to the root, lowest first (RFC 9162, section 2.1.3)."""
        return path_of("sha256", self.leaves, index)

    @cached_property
    def _there(self) -> frozenset[str]:
        return frozenset(self.members)

    def _json(self, member: str) -> Any:
        return parse(self.read(member), f"{self.path}: {member}", error=LogError, constant=float)

    def _unpack(self, info: zipfile.ZipInfo) -> bytes:
        """Return the content of a member that is compressed by Zstandard, or more than `MOST_BYTES` of it."""
        check_installed("reading an .eval log", "zstandard")
        import zstandard

        file = self._archive.fp
        assert file is not None
        file.seek(info.header_offset)
        signature, name, extra = _LOCAL.unpack(file.read(_LOCAL.size))
        if signature != b"PK\3\4":
            raise zipfile.BadZipFile("its local header is missing")
        file.seek(name + extra, io.SEEK_CUR)
        packed = file.read(min(info.compress_size, MOST_BYTES))
        data = bytearray()
        try:
            with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as stream:
                while len(data) <= MOST_BYTES and (part := stream.read(_PART)):
                    data += part
        except zstandard.ZstdError as error:
            raise zipfile.BadZipFile(str(error)) from error
        if len(data) <= MOST_BYTES and zlib.crc32(data) != info.CRC:
            raise zipfile.BadZipFile("its checksum is wrong")
        return bytes(data)
