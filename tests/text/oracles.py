"""Tokenizers written as their papers define them, short and slow, and a writer of SentencePiece's tables."""

import unicodedata
from collections.abc import Mapping
from functools import cache


def bert_words(text: str, *, lowercase: bool) -> list[str]:
    """Split a text as BERT's BasicTokenizer does (Devlin et al. 2019, tokenization.py)."""
    kept = []
    for character in text:
        category = unicodedata.category(character)
        if character.isspace():
            kept.append(" ")
        elif character != "\ufffd" and category[0] != "C":
            kept.append(f" {character} " if is_chinese(character) else character)
    text = "".join(kept)
    if lowercase:
        text = unicodedata.normalize("NFD", text)
        text = "".join(c for c in text if unicodedata.category(c) != "Mn")
        text = "".join(c.lower() for c in text)
    spaced = "".join(f" {c} " if is_punctuation(c) else c for c in text)
    return spaced.split()


def is_chinese(character: str) -> bool:
    return any(
        low <= ord(character) <= high
        for low, high in ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))
    )


def is_punctuation(character: str) -> bool:
    ascii_symbol = character.isascii() and character.isprintable() and not character.isalnum() and character != " "
    return ascii_symbol or unicodedata.category(character)[0] == "P"


def wordpiece(text: str, ids: Mapping[str, int], unknown: int, *, lowercase: bool) -> list[int]:
    """Cut each word from the left into the longest pieces that there are."""
    found = []
    for word in bert_words(text, lowercase=lowercase):
        pieces, start = [], 0
        while start < len(word) <= 100:
            prefix = "##" if start else ""
            ends = [end for end in range(len(word), start, -1) if prefix + word[start:end] in ids]
            if not ends:
                break
            pieces.append(ids[prefix + word[start : ends[0]]])
            start = ends[0]
        found += pieces if start == len(word) else [unknown]
    return found


def unigram(text: str, scores: Mapping[str, float]) -> list[str | None]:
    """Return the best pieces of a text, unknown ones as None; of equal ways the one whose last piece is longest."""
    least = min(scores.values()) - 10.0
    best: list[tuple[float, int, bool]] = [(0.0, 0, True)]
    for end in range(1, len(text) + 1):
        ways = []
        for start in range(end):
            known = text[start:end] in scores
            if known or start == end - 1:
                ways.append((best[start][0] + (scores[text[start:end]] if known else least), -start, known))
        score, start, known = max(ways)
        best.append((score, -start, known))
    pieces: list[str | None] = []
    end = len(text)
    while end:
        _, start, known = best[end]
        if known or pieces[-1:] != [None]:
            pieces.append(text[start:end] if known else None)
        end = start
    return pieces[::-1]


def charsmap(rules: Mapping[str, str]) -> bytes:
    """Write the table of normalisations of some rules: a trie in which every state has 256 units of its own."""
    units, texts = [0] * 256, bytearray()
    places = {}
    for text in dict.fromkeys(rules.values()):
        places[text] = len(texts)
        texts += text.encode() + b"\0"
    tree: dict[int, object] = {}
    for key, text in rules.items():
        node = tree
        for byte in key.encode():
            node = node.setdefault(byte, {})  # type: ignore[assignment]
        node[0] = places[text]
    waiting = [(0, tree)]
    while waiting:
        unit, node = waiting.pop()
        base = len(units)
        units += [0] * 256
        units[unit] |= (0 in node) << 8 | (unit ^ base) << 10
        for byte, child in node.items():
            if byte == 0:
                units[base] = child | 1 << 31  # type: ignore[operator]
            else:
                units[base ^ byte] = byte
                waiting.append((base ^ byte, child))  # type: ignore[arg-type]
    trie = b"".join(unit.to_bytes(4, "little") for unit in units)
    return len(trie).to_bytes(4, "little") + trie + bytes(texts)


@cache
def nfkc_charsmap() -> bytes:
    """A table with NFKC's forms of some blocks, tabs and line ends as spaces, and some control characters dropped."""
    blocks = (
        range(0xA0, 0x180),
        range(0x2100, 0x2190),
        range(0x3000, 0x3010),
        range(0xFB00, 0xFB07),
        range(0xFF01, 0xFF5F),
    )
    rules = {chr(c): unicodedata.normalize("NFKC", chr(c)) for block in blocks for c in block}
    rules = {key: text for key, text in rules.items() if key != text}
    rules |= {f"{a}\u0301": unicodedata.normalize("NFC", f"{a}\u0301") for a in "aeiou"}
    return charsmap(rules | dict.fromkeys("\t\n\r\u200b\u2028\u3000\u2581", " ") | dict.fromkeys("\x01\x0b\x7f", ""))
