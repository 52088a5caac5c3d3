"""The parts of a report, in HTML and in Markdown."""

from intact.evaluate.report.blocks import (
    Code,
    Paragraph,
    Picture,
    ReportDocument,
    Section,
    Table,
    TextTree,
    TextTrees,
)
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


def test_html_escapes_every_text_and_replaces_control_characters():
    text = '<b>"it\'s" & \x01'
    escaped = "&lt;b&gt;&#34;it&#39;s&#34; &amp; \ufffd"
    blocks = [Paragraph(text), Table([text, text], [[text, text]]), Code([text]), TextTrees([TextTree(text, text)])]
    found = html(ReportDocument(text, [Section(text, [*blocks, Picture('<svg id="a"></svg>', text)])]))
    assert found.count(escaped) == 5 + 5 + 3 + 2
    assert "<b>" not in found
    assert "\x01" not in found
    assert f'<svg role="img" aria-label="{escaped}" id="f0-4-a"></svg>' in found


def test_html_holds_trees_of_any_depth_in_order():
    tree = TextTree("9999", "")
    for i in reversed(range(9999)):
        tree = TextTree(str(i), "", (tree, TextTree(f"{i}b", "")))
    text = html(ReportDocument("deep", [Section("Trees", [TextTrees([tree])])]))
    assert text.count("<details>") == text.count("</details>") == 2 * 9999 + 1
    assert text.index("<summary>9999<") < text.index("<summary>9998b<") < text.index("<summary>0b<")
