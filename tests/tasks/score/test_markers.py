"""Habits and marker words, on texts made by hand."""

from pathlib import Path

import pytest

from intact.tasks.score.markers import MARKERS, count_markers, count_words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Let me check: 3 * 4 = 12. Let's double-check it.", {"verification": 2, "thinking": 1}),
        ("Wait, that's wrong. Let me try again.", {"backtracking": 3, "thinking": 1}),
        ("Step 1: add. Step 2: then we need to divide.", {"subgoals": 3}),
        ("Working backwards from 24, to reach 24 we need 3 * 8.", {"backward chaining": 2}),
        ("Perhaps it is 4, maybe 5; it might be 6.", {"hedging": 3}),
        ("So it is 5. Therefore 6, because of 7.", {"inference": 3}),
        ("But it is 7 instead.", {"contrast": 2}),
        ("The soup was solid: awaiting butter, thusly.", {}),
        ("", {}),
        ("Wait 20 minutes. They wait, then eat; he had to wait.", {}),
        ("Wait for the bus, then wait a while longer.", {}),
        ("But wait, 3 + 4 is 7. Oh wait! Wait a minute. Wait, no.", {"backtracking": 4, "thinking": 4, "contrast": 1}),
        ("The printer does not work on Sundays, and it doesn't work at night.", {}),
        ("This does not work. Let's re-evaluate the problem.", {"backtracking": 2}),
        ("There is an error in the reasoning. The correct equation should be this.", {"backtracking": 2}),
        ("To check in, he pays $5; to check out, $6.", {}),
        ("We use Python to ensure accuracy.\nCheck if it holds. This confirms the result.", {"verification": 3}),
        ("2. **Calculate the cost:**\n# Determine how many\nthe calculated cost", {"subgoals": 2}),
        ("The water needs 5 minutes to reach 100 degrees.", {}),
    ],
)
def test_phrases_count_for_what_they_mean(text, expected):
    assert {name: count for name, count in count_markers(text).items() if count} == expected
    assert count_markers(text.upper()) == count_markers(text)


def test_counts_add_up_over_texts():
    one, other = "Wait. Let me check.", "Perhaps so, but no."
    both = count_markers(f"{one} {other}")
    assert both == {name: count_markers(one)[name] + count_markers(other)[name] for name in MARKERS}


def test_words_are_letters_and_digits_with_apostrophes():
    assert count_words("Don't pay $3.50 -- 12 eggs!") == 6


def test_the_page_has_precision_and_recall_as_the_benchmark_prints_them(monkeypatch):
    root = Path(__file__).parents[3]
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    import habits

    assert habits.table(habits.measure()) in (root / "study" / "evaluation.md").read_text("utf-8")
    assert len(habits.labelled()) == 400
