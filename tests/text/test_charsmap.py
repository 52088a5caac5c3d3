"""Tables of normalisations: what is accepted never fails in the library, what is damaged is refused by name."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.normalizers import Precompiled

from intact._base.errors import FormatError
from intact.text.charsmap import LONGEST_KEY, MOST_BYTES, check_charsmap

from .oracles import charsmap, nfkc_charsmap

KEYS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=3)
SMALL = charsmap({"é": "e", "ﬁ": "fi", "ab": "c"})
TEXTS = ("é ﬁ ab abc Ünïcödé 漢字 😀", "\x01\x7f", "".join(map(chr, range(1, 0x300))))


@given(st.dictionaries(KEYS, st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=4)))
def test_tables_of_rules_are_accepted(rules: dict[str, str]) -> None:
    check_charsmap(charsmap(rules | {"a": ""}), "a file")


def test_the_library_applies_the_rules() -> None:
    for character in "ﬁⅣ①Ａ½é":
        expected = unicodedata.normalize("NFKC", character) if character != "①" else character
        assert Precompiled(nfkc_charsmap()).normalize_str(character) == expected


@given(st.integers(0, len(SMALL) - 1), st.integers(0, 255), st.integers(0, len(SMALL) - 1), st.integers(0, 255))
def test_what_is_accepted_never_fails_in_the_library(at: int, byte: int, other: int, second: int) -> None:
    damaged = bytearray(SMALL)
    damaged[at], damaged[other] = byte, second
    try:
        check_charsmap(bytes(damaged), "a file")
    except FormatError:
        return
    for text in TEXTS:
        Precompiled(bytes(damaged)).normalize_str(text)


def changed(unit: int, value: int) -> bytes:
    """The table with another unit."""
    return SMALL[: 4 + 4 * unit] + value.to_bytes(4, "little") + SMALL[8 + 4 * unit :]


TRIE = int.from_bytes(SMALL[:4], "little")
A = 256 ^ ord("a")
"""The unit of the key's first byte; the root's children begin at 256."""


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"", "states a trie of 0 bytes in 0"),
        (b"\0\0\0\0", "states a trie of 0 bytes in 4"),
        (b"\xfc\xff\xff\xff", "states a trie of 4294967292 bytes in 4"),
        (SMALL[: TRIE // 2], f"states a trie of {TRIE} bytes in {TRIE // 2}; expected a multiple of 1024"),
        (bytes(MOST_BYTES + 1), f"has {MOST_BYTES + 1} bytes; expected at most {MOST_BYTES}"),
        (SMALL[: 4 + TRIE], "has replacements that do not end with a zero byte"),
        (SMALL[:-1] + b"x", "has replacements that do not end with a zero byte"),
        (SMALL[:-1] + b"\xff\0", "has replacements that are not UTF-8: byte"),
        (changed(0, 1 << 30), "has an offset in its trie that leads to unit 1048576; expected less than"),
        (changed(A, ord("a") | 1 << 30), "has an offset in its trie that leads to unit"),
        (changed(A, ord("a") | (A ^ 256) << 10), f"has a key of more than {LONGEST_KEY} bytes, or a cycle"),
    ],
)
def test_a_damaged_table_is_refused(table: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=f"a file {message}"):
        check_charsmap(table, "a file")


def test_replacements_begin_at_characters_that_are_there() -> None:
    table = charsmap({"a": "é"})
    for place, message in ((1, "at byte 1, within a character"), (3, "at byte 3; expected less than 3")):
        ends = table.index((1 << 31).to_bytes(4, "little"))
        damaged = table[:ends] + (place | 1 << 31).to_bytes(4, "little") + table[ends + 4 :]
        with pytest.raises(FormatError, match=message):
            check_charsmap(damaged, "a file")
