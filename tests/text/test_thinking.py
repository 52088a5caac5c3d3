"""Thoughts are told from text, however the text is cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.text.thinking import THINK_TAGS, ThoughtReader

TEXTS = {
    "": ("", ""),
    "Air.": ("", "Air."),
    " \n Air.": ("", " \n Air."),
    "<thin air>": ("", "<thin air>"),
    "<think>Hm.</think>Air.": ("Hm.", "Air."),
    "\n<think>\n Hm.\n\nSo </thin \n</think>\n\n Air.\n": ("Hm.\n\nSo </thin", "Air.\n"),
    "<think>\n\n</think>\n\nAir.": ("", "Air."),
    "<think>Hm.</think>Air. <think>No.</think>": ("Hm.", "Air. <think>No.</think>"),
    "Air. <think>No.</think>": ("", "Air. <think>No.</think>"),
    "<think>Hm. </think": ("Hm. </think", ""),
    "<think>Hm.</think>\n": ("Hm.", ""),
    "<thi": ("", "<thi"),
}


def read(reader, pieces):
    parts = [part for piece in pieces for part in reader.push(piece)] + reader.flush()
    assert all(text for _, text in parts)
    assert [is_thought for is_thought, _ in parts] == sorted((is_thought for is_thought, _ in parts), reverse=True)
    return tuple("".join(text for is_thought, text in parts if is_thought is wanted) for wanted in (True, False))


@given(st.sampled_from(sorted(TEXTS)), st.lists(st.integers(0, 60)))
def test_thoughts_are_read_however_a_text_is_cut(text, cuts):
    bounds = sorted({0, len(text), *[min(cut, len(text)) for cut in cuts]})
    assert read(ThoughtReader(THINK_TAGS), [text[start:end] for start, end in pairwise(bounds)]) == TEXTS[text]


@pytest.mark.parametrize("text", [text for text in sorted(TEXTS) if text.startswith("<think>")])
def test_a_text_may_begin_within_thoughts(text):
    assert read(ThoughtReader(THINK_TAGS, begun=True), text.removeprefix("<think>")) == TEXTS[text]


def test_thoughts_come_as_soon_as_they_are_certain():
    reader = ThoughtReader(THINK_TAGS)
    assert reader.push("<think>Hm, ") == [(True, "Hm,")]
    assert reader.push("air?</") == [(True, " air?")]
    assert reader.push("think> So") == [(False, "So")]
