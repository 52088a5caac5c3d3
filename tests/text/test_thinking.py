"""Thoughts are told from text, however the text is cut."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.text.thinking import GEMMA_TAGS, HARMONY, SEED_TAGS, THINK_TAGS, TagReader, find_thinking

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
    assert read(TagReader(THINK_TAGS), [text[start:end] for start, end in pairwise(bounds)]) == TEXTS[text]


@pytest.mark.parametrize("text", [text for text in sorted(TEXTS) if text.startswith("<think>")])
def test_a_text_may_begin_within_thoughts(text):
    assert read(TagReader(THINK_TAGS, begun=True), text.removeprefix("<think>")) == TEXTS[text]
    assert read(THINK_TAGS.reader("<assistant>\n<think>\n"), text.removeprefix("<think>")) == TEXTS[text]


def test_templates_show_the_marks_of_thoughts():
    assert find_thinking("{{ '<think>' }}") is THINK_TAGS
    assert find_thinking("{{ '<seed:think>' }}") is SEED_TAGS
    assert find_thinking("{{ 'think' }}") is None
    assert find_thinking("{{ '<|channel>thought\\n<channel|>' }}") is GEMMA_TAGS
    assert read(TagReader(GEMMA_TAGS), ["<|channel>thought\nHm.\n<chan", "nel|>Air."]) == ("Hm.", "Air.")
    assert read(TagReader(SEED_TAGS), ["<seed:th", "ink>Hm.</seed:think>\nAir."]) == ("Hm.", "Air.")


HARMONY_TEXTS = {
    "analysisHm, analysis.assistantfinalAir.": ("Hm, analysis.", "Air."),
    " \nanalysis Hm.\n assistantfinal\nAir. assistantfinal\n": ("Hm.", "Air. assistantfinal\n"),
    "analysisHm.assistantcommentary": ("Hm.", ""),
    "analysisHm.assistantcommentaryFirst, air. \n": ("Hm.", "First, air."),
    "analysisHm.assistantcommentaryFirst.assistantfinalAir.": ("Hm.", "First.\n\nAir."),
    "analysisHm.assistantanalysisSo.\nAnd.assistantfinalAir.": ("Hm.\n\nSo.\nAnd.", "Air."),
    "commentaryFirst.assistantfinalAir.": ("", "First.\n\nAir."),
    "analysisan assistant, assistantfin \n.": ("an assistant, assistantfin \n.", ""),
    "analysisHm. assistantfin": ("Hm. assistantfin", ""),
    "analysis assistantanalysis\n assistantfinal Air.": ("", "Air."),
    "\n Air. assistantfinal": ("", "\n Air. assistantfinal"),
    " \n": ("", " \n"),
    "\nfin": ("", "\nfin"),
    "finalAir.": ("", "Air."),
    "final\n\nAir, final.": ("", "Air, final."),
    "fin": ("", "fin"),
    "anal": ("", "anal"),
    "fine air": ("", "fine air"),
    "final": ("", ""),
    "Air.": ("", "Air."),
}


@given(st.sampled_from(sorted(HARMONY_TEXTS)), st.lists(st.integers(0, 60)))
def test_channels_of_gpt_oss_are_read_however_a_text_is_cut(text, cuts):
    bounds = sorted({0, len(text), *[min(cut, len(text)) for cut in cuts]})
    reader = find_thinking("<|channel|>analysis<|message|>").reader()
    assert read(reader, [text[start:end] for start, end in pairwise(bounds)]) == HARMONY_TEXTS[text]


def test_thoughts_come_as_soon_as_they_are_certain():
    reader = TagReader(THINK_TAGS)
    assert reader.push("<think>Hm, ") == [(True, "Hm,")]
    assert reader.push("air?</") == [(True, " air?")]
    assert reader.push("think> So") == [(False, "So")]


def test_thoughts_and_text_of_channels_may_take_turns():
    reader = HARMONY.reader()
    parts = reader.push("analysisA.assistantcommentaryB.assistantanalysisC.assistantfinalD.")
    assert parts + reader.flush() == [(True, "A."), (False, "B."), (True, "\n\nC."), (False, "\n\nD.")]


@pytest.mark.parametrize(
    ("form", "before"),
    [(THINK_TAGS, ""), (THINK_TAGS, "<think>"), (THINK_TAGS, "<think>Hm."),
     (HARMONY, ""), (HARMONY, "analysis"), (HARMONY, "analysisHm."), (HARMONY, "commentaryHm.")],
)  # fmt: skip
def test_the_time_is_linear_in_white_space_that_is_held_back(form, before):
    def seconds(count):
        reader, began = form.reader(), time.process_time()
        assert "".join(read(reader, [before, *["\n"] * count, "Air."])).endswith("Air.")
        return time.process_time() - began

    seconds(1000)
    assert min(seconds(40_000) for _ in range(3)) < 25 * min(seconds(5_000) for _ in range(3))  # not 64 times


def test_a_message_behind_a_call_that_came_first_is_read() -> None:
    """The call's text is cut out before, and what came until then is flushed."""
    reader = HARMONY.reader()
    assert reader.flush() == []
    parts = [*reader.push("assistantfi"), *reader.push("nalDone."), *reader.flush()]
    assert "".join(text for _, text in parts) == "Done."
    assert not any(is_thought for is_thought, _ in parts)
