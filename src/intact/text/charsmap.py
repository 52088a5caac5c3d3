"""SentencePiece's normalisation table (`precompiled_charsmap`): validated before a library reads it.

The table is a trie of UTF-8 keys in a double array, in the format of Darts-clone, followed by the replacement strings:

    bytes 0 to 3     size of the trie in bytes, little-endian
    the trie         units of 32 bits: bits 0 to 7 the label, bit 8 marks the end of a key, bits 9 to 31 the offset
    the rest         replacements in UTF-8, each terminated by a zero byte

A unit that ends a key points to the unit that holds the position of its replacement. `tokenizers` and llama.cpp follow
offsets without checking them, so an invalid offset would point outside the array.
"""

from collections.abc import Callable
from typing import Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import FormatError

MOST_BYTES: Final = 4 << 20
"""Maximum size of a table in bytes; the table of XLM-RoBERTa and T5 has 316,720."""
LONGEST_KEY: Final = 256
"""Maximum length of a key in bytes; longer keys and cycles are rejected."""
_BLOCK: Final = 256
"""Number of units that hold the children of one state: one per byte value."""
_NO_LABEL: Final = 1 << 31


def check_charsmap(table: bytes, where: str) -> None:
    """Raise if a normalisation table contains references outside its arrays.

    Parameters
    ----------
    table : bytes
        The table as stored in a SentencePiece model, without base64.
    where : str
        File and key, for error messages.

    Raises
    ------
    FormatError
        If sizes disagree, an offset points outside the trie, a key is longer than `LONGEST_KEY` (as in a cycle), or a
        replacement is missing, is not UTF-8, or does not begin on a character boundary.
    """

    def fail(problem: str) -> NoReturn:
        raise FormatError(f"{where} {problem}")

    if len(table) > MOST_BYTES:
        fail(f"has {len(table)} bytes; expected at most {MOST_BYTES}")
    size = int.from_bytes(table[:4], "little")
    if len(table) < 4 or size % (4 * _BLOCK) or not 0 < size <= len(table) - 4:
        fail(f"states a trie of {size} bytes in {len(table)}; expected a multiple of {4 * _BLOCK} above 0 that fits")
    units = np.frombuffer(table, "<u4", size // 4, 4).astype(np.int64)
    texts = table[4 + size :]
    try:
        texts.decode()
    except UnicodeDecodeError as error:
        fail(f"has replacements that are not UTF-8: byte {error.start} of them ({error.reason})")
    if texts[-1:] != b"\0":
        fail("has replacements that do not end with a zero byte; expected one after each")
    places = _places(units, fail)
    if outside := places[places >= len(texts)].tolist():
        fail(f"has a replacement at byte {outside[0]}; expected less than {len(texts)}")
    for place in places.tolist():
        if texts[place] & 0xC0 == 0x80:
            fail(f"has a replacement at byte {place}, within a character; expected its first byte")


def _places(units: NDArray[np.int64], fail: Callable[[str], NoReturn]) -> NDArray[np.int64]:
    """Return the positions of all replacements reachable from the root.

    A unit at p with the label c can only be the child of the state p ^ c, so each unit is visited once per key length.
    """
    index = np.arange(len(units))
    labels = units & (_NO_LABEL | 0xFF)
    offsets = (units >> 10) << ((units & (1 << 9)) >> 6)
    child = np.flatnonzero((labels > 0) & (labels < _BLOCK))
    child = child[np.argsort(child ^ labels[child], kind="stable")]
    parents = child ^ labels[child]
    states = (index ^ offsets)[:1]
    ends: list[NDArray[np.int64]] = []
    while len(states):
        if len(ends) > LONGEST_KEY:
            fail(f"has a key of more than {LONGEST_KEY} bytes, or a cycle, in its trie; expected shorter keys")
        if outside := states[states >= len(units)].tolist():
            fail(f"has an offset in its trie that leads to unit {outside[0]}; expected less than {len(units)}")
        first, last = np.searchsorted(parents, states, "left"), np.searchsorted(parents, states, "right")
        counts = last - first
        steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        here = child[np.repeat(first, counts) + steps]
        after = here ^ offsets[here]
        leaves = after[(units[here] >> 8) & 1 == 1]
        if outside := leaves[leaves >= len(units)].tolist():
            fail(f"has an offset in its trie that leads to unit {outside[0]}; expected less than {len(units)}")
        ends.append(units[leaves] & (_NO_LABEL - 1))
        states = np.unique(after)
    return np.unique(np.concatenate(ends))
