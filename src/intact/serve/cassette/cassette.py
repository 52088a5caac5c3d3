"""The file of a cassette: one entry for each request, in an order that does not depend on when requests were sent."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from intact._base.errors import CassetteError, ReceiptError
from intact._base.files import write_whole
from intact._base.strict_json import Fields, parse
from intact.serve.cassette.entry import MOST_ENTRIES, CassetteEntry, order_of, size_of, stored_identifier
from intact.serve.cassette.layout import layout
from intact.serve.cassette.matching import DEFAULT, MATCHERS, Matcher, comparable, key_of

FORMAT: Final = "intact-cassette"
VERSION: Final = 1
MOST_BYTES: Final = 64 << 20
"""Maximum size of a file."""


@dataclass
class Cassette:
    """The entries of a file.

    Attributes
    ----------
    entries : list of CassetteEntry
    matchers : tuple of str
        Parts of a request that must be equal.
    """

    entries: list[CassetteEntry] = field(default_factory=list)
    matchers: tuple[Matcher, ...] = DEFAULT

    @classmethod
    def parse(cls, data: bytes) -> Cassette:
        """Parse a file.

        Raises
        ------
        CassetteError
            If it is no cassette, damaged, too large, or of a later version.
        """
        if len(data) > MOST_BYTES:
            raise CassetteError(f"it is larger than {MOST_BYTES:,} bytes")
        value = parse(data, "the file", error=CassetteError)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise CassetteError(f"it is no cassette; expected {FORMAT!r} as its format")
        if value.get("version") != VERSION or isinstance(value["version"], bool):
            raise CassetteError(f"it has version {value.get('version')!r:.20}; this intact reads version {VERSION}")
        try:
            fields = Fields(value, "the cassette", ("format", "version", "match_on", "entries"))
            names = fields.items("match_on")
            if not names or not all(name in MATCHERS for name in names):
                fields.fail("match_on", f"a list of {', '.join(MATCHERS)}")
            if len(fields.items("entries")) > MOST_ENTRIES:
                raise CassetteError(f"it has more than {MOST_ENTRIES:,} entries")
            entries = fields.each("entries", CassetteEntry.from_document)
        except ReceiptError as error:
            raise CassetteError(str(error)) from error
        return cls(list(entries), tuple(name for name in MATCHERS if name in names))

    @classmethod
    def read(cls, path: Path) -> Cassette:
        """Read a file; errors as for `parse`, and if it cannot be read."""
        try:
            with path.open("rb") as file:
                data = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise CassetteError(f"{path} cannot be read: {error.strerror or error}") from error
        try:
            return cls.parse(data)
        except CassetteError as error:
            raise CassetteError(f"{path}: {error}") from error

    def keys(self) -> list[str]:
        """Return the key of each entry's request."""
        earlier = self.earlier()
        return [key_of(comparable(entry.request, self.matchers, earlier)) for entry in self.entries]

    def earlier(self) -> dict[str, str]:
        """Return names for the answers that later requests may continue, by the answers' identifiers."""
        found: dict[str, str] = {}
        for entry in sorted(self.entries, key=size_of):  # an answer is named before the requests that continue it
            if (identifier := stored_identifier(entry)) is not None:
                found.setdefault(identifier, key_of(comparable(entry.request, DEFAULT, found)))
        return found

    def text(self) -> str:
        """Return the text of the file, with entries in a fixed order."""
        return self._text_of(sorted(self.numbered(), key=order_of))

    def _text_of(self, entries: Sequence[CassetteEntry]) -> str:
        head = {"format": FORMAT, "version": VERSION, "match_on": list(self.matchers)}
        return layout(head | {"entries": [entry.to_document() for entry in entries]})

    def numbered(self) -> list[CassetteEntry]:
        """Return the entries with equal requests of a scope numbered from 1, in their order."""
        counts: Counter[tuple[str, str]] = Counter()
        numbered = []
        for entry, key in zip(self.entries, self.keys(), strict=True):
            counts[entry.scope, key] += 1
            numbered.append(replace(entry, occurrence=counts[entry.scope, key]))
        return numbered

    def write(self, path: Path) -> None:
        """Write the file, completely or not at all.

        Raises
        ------
        CassetteError
            If it would be too large to be read again. The file is then left as it is, and all entries are written into
            files next to it, which the message names.
        OSError
            If it cannot be written.
        """
        texts = self._split(sorted(self.numbered(), key=order_of))
        if len(texts) == 1:
            write_whole(path, texts[0])
            return
        parts = [path.with_name(f"{path.stem}.part{number}{path.suffix}") for number in range(1, len(texts) + 1)]
        for part, text in zip(parts, texts, strict=True):
            write_whole(part, text)
        raise CassetteError(
            f"{path}: {len(self.entries):,} entries are too many for a cassette: at most {MOST_ENTRIES:,} entries and "
            f"{MOST_BYTES:,} bytes; they are in {', '.join(one.name for one in parts)}: split the suite"
        )

    def _split(self, entries: Sequence[CassetteEntry]) -> list[str]:
        """Return the texts of as many files as the entries need."""
        text, half = self._text_of(entries), len(entries) // 2
        if half and (len(text.encode()) > MOST_BYTES or len(entries) > MOST_ENTRIES):
            return [*self._split(entries[:half]), *self._split(entries[half:])]
        return [text]

    def merged(self, parts: Iterable[Sequence[CassetteEntry]], again: Collection[str] = ()) -> Cassette:
        """Return a cassette with the new entries of several processes.

        Requests outside of tests, which each process sends for itself, are kept once.

        Parameters
        ----------
        again : collection of str
            Tests that were recorded again: all their earlier entries are dropped. Outside of tests (the empty name),
            only those of requests that were sent again are.
        """
        new: dict[tuple[str, str], list[CassetteEntry]] = {}
        for part in parts:
            for where, entries in _grouped(Cassette(list(part), self.matchers)).items():
                if len(entries) > len(new.get(where, ())):
                    new[where] = entries
        old = _grouped(self)
        kept = [
            entry
            for where, entries in old.items()
            for entry in entries
            if where[0] not in again or not (where[0] or where in new)
        ]
        return Cassette(kept + [entry for entries in new.values() for entry in entries], self.matchers)


def _grouped(cassette: Cassette) -> dict[tuple[str, str], list[CassetteEntry]]:
    found: dict[tuple[str, str], list[CassetteEntry]] = defaultdict(list)
    for entry, key in zip(cassette.entries, cassette.keys(), strict=True):
        found[entry.scope, key].append(entry)
    return found
