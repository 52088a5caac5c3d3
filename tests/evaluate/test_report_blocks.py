"""The parts of a report, in HTML and in Markdown."""

from intact.evaluate.report.blocks import Paragraph, ReportDocument, Section, TextTree, TextTrees
from intact.evaluate.report.failures import LONGEST, shortened
from intact.evaluate.report.html import html
from intact.evaluate.report.markdown import EXAMPLES, markdown

TREES = [TextTree(f"line {i}", "a text" if i else "") for i in range(EXAMPLES + 2)]
REPORT = ReportDocument(
    "A title",
    [
        Section("Words", [Paragraph("plain"), Paragraph("beware", warning=True)]),
        Section("Trees", [TextTrees(TREES, 3), TextTrees(TREES[:1])]),
    ],
)


def test_markdown_has_titles_marks_warnings_and_counts_what_it_leaves_out():
    lines = [f"- {tree.line}" for tree in TREES[:EXAMPLES]]
    assert markdown(REPORT, "report") == (
        "\n\n".join(
            [
                "# A title", "## Words", "plain", "**Note:** beware",
                "## Trees", "\n".join([*lines, "- and 5 more"]), "- line 0",
            ]
        )
        + "\n",
        {},
    )  # fmt: skip


def test_html_marks_warnings_and_leaves_out_what_is_empty():
    text = html(REPORT)
    assert '<p class="small">plain</p>\n<p class="warning">beware</p>' in text
    assert text.count("<pre>a text</pre>") == EXAMPLES + 1
    assert text.count("<pre>") == EXAMPLES + 1
    assert text.count("<details>") == EXAMPLES + 3
    assert text.count("more</p>") == text.count('<p class="small">and 3 more</p>') == 1


def test_a_long_text_keeps_its_two_ends():
    whole = "a" * LONGEST
    assert shortened(whole) == whole
    assert shortened(whole + "b" * 1234) == (
        whole[: LONGEST // 2] + "\n… 1,234 characters …\n" + "a" * (LONGEST // 2 - 1234) + "b" * 1234
    )
