"""Files in questions: the text of PDF files by the server, text files by the page, and what the model reads of them."""

import base64
import json
import zlib

import httpx
import pytest

from intact._base import packages
from intact.serve import pdf
from support.browser import browser, complaints, overflow

HOSTILE = "```\n</script><img src=x onerror=alert(1)>"


def document(*pages, stream=None):
    """A PDF file with a line of text on each page; `stream` is the first page's content instead, compressed."""
    objects = {1: b"<</Type/Catalog/Pages 2 0 R>>", 3: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"}
    kids = []
    for number, line in enumerate(pages):
        content = f"BT /F1 12 Tf 72 720 Td ({line}) Tj ET".encode()
        kind = b""
        if stream is not None and number == 0:
            content, kind = zlib.compress(stream, 9), b"/Filter/FlateDecode"
        page, body = 10 + 2 * number, 11 + 2 * number
        kids.append(b"%d 0 R" % page)
        objects[page] = (
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>" % body
        )
        objects[body] = b"<</Length %d%b>>stream\n%b\nendstream" % (len(content), kind, content)
    objects[2] = b"<</Type/Pages/Kids[%b]/Count %d>>" % (b" ".join(kids), len(pages))
    made, places = b"%PDF-1.4\n", {}
    for number, content in sorted(objects.items()):
        places[number] = len(made)
        made += b"%d 0 obj%b endobj\n" % (number, content)
    table = b"".join(b"%d 1\n%010d 00000 n \n" % item for item in sorted(places.items()))
    return made + b"xref\n%btrailer<</Root 1 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF" % (
        table,
        max(objects) + 1,
        len(made),
    )


def read(server, data):
    return httpx.post(server.url + "/v1/documents/text", json={"data": base64.b64encode(data).decode()})


def test_without_pypdf_the_server_says_how_to_install_it(server, monkeypatch):
    monkeypatch.setattr(packages, "_importable", lambda module: module != "pypdf")
    answer = read(server, document("one"))
    assert answer.status_code == 501
    assert "pip install" in answer.json()["error"]["message"]


def test_the_text_of_a_pdf_has_its_pages_in_order(server):
    pytest.importorskip("pypdf")
    answer = read(server, document("The first page", "The second page")).json()
    assert answer == {
        "object": "document",
        "text": "The first page\n\nThe second page",
        "pages": 2,
        "of": 2,
        "cut": False,
    }


def test_pages_beyond_the_limit_are_left_out_and_said(server, monkeypatch):
    pytest.importorskip("pypdf")
    monkeypatch.setattr(pdf, "MOST_PAGES", 2)
    answer = read(server, document("one", "two", "three")).json()
    assert (answer["text"], answer["pages"], answer["of"], answer["cut"]) == ("one\n\ntwo", 2, 3, True)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"MZ no document", "not a PDF"),
        (b"%PDF-1.4\nnothing else", "cannot be read"),
        (document("one")[:-60], "the PDF"),
        (document(""), "has no text"),
        (b"%PDF-" + bytes(pdf.MOST_BYTES), "should have at most"),
    ],
)
def test_what_is_no_readable_pdf_is_refused(server, data, message):
    pytest.importorskip("pypdf")
    answer = read(server, data)
    if answer.status_code == 200:  # a reader that mends damaged files may find the text
        assert answer.json()["text"] == "one"
        return
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_a_pdf_that_expands_without_end_ends_within_its_limits(server, monkeypatch):
    pytest.importorskip("pypdf")
    monkeypatch.setattr(pdf._worker, "seconds", 5.0)
    answer = read(server, document("one", stream=bytes(100 << 20)))
    assert answer.status_code == 400
    assert "PDF" in answer.json()["error"]["message"]
    assert read(server, document("still here")).json()["text"] == "still here"


def test_data_that_is_no_base64_is_refused(server):
    answer = httpx.post(server.url + "/v1/documents/text", json={"data": "?"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "data")


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture
def page(chromium, server):
    context = chromium.new_context(viewport={"width": 1100, "height": 900}, accept_downloads=True)
    opened = context.new_page()
    said = complaints(opened)
    opened.goto(server.url)
    opened.wait_for_selector("#method optgroup:nth-child(6) option", state="attached")
    opened.evaluate("document.getElementById('max_tokens').value = 6")
    yield opened
    assert said == []
    context.close()


@pytest.mark.slow
def test_the_model_reads_the_attached_files_and_the_page_shows_them(page, tmp_path):
    (tmp_path / "numbers.csv").write_text("a,b\n1,2\n", "utf-8")
    (tmp_path / "bad name.py").write_text(HOSTILE, "utf-8")
    page.set_input_files("#attach-file", [tmp_path / "numbers.csv", tmp_path / "bad name.py"])
    page.wait_for_selector("#attached li:nth-child(2)")
    sent = []
    page.on("request", lambda request: sent.append(request.post_data) if "completions" in request.url else None)
    page.fill("#question", "What is the sum?")
    page.press("#question", "Enter")
    page.wait_for_selector("article.assistant:not([aria-busy])")
    content = json.loads(sent[0])["messages"][0]["content"]
    table, code = "```csv\na,b\n1,2\n```", f"````py\n{HOSTILE}\n````"
    assert content == f'File "numbers.csv":\n{table}\n\nFile "bad name.py":\n{code}\n\nWhat is the sum?'
    assert page.locator("article.user .file pre").nth(1).text_content() == HOSTILE
    assert page.locator("article img").count() == 0
    assert page.locator("#attached li").count() == 0
    page.reload()
    page.click("#conversations .title")
    assert page.locator("article.user .file").count() == 2
    assert overflow(page) <= 0


@pytest.mark.slow
def test_files_that_are_no_text_are_refused_by_name_and_removed_by_hand(page, tmp_path):
    for name, data in (
        ("a.bin", b"\xff\xfe\0"),
        ("b.txt", b"a\0b"),
        ("c.txt", b" \n"),
        ("d.txt", b"x" * ((1 << 20) + 1)),
        ("e.txt", b"fine"),
    ):
        (tmp_path / name).write_bytes(data)
    page.set_input_files("#attach-file", sorted(tmp_path.iterdir()))
    page.wait_for_selector("#attached li")
    assert page.locator("#attached li").count() == 1
    said = page.inner_text("#attached-state")
    for words in (
        "a.bin is not text in UTF-8",
        "b.txt is not a text file",
        "c.txt is empty",
        "d.txt has more than 1 MiB",
    ):
        assert words in said
    page.click("#attached [aria-label='Remove e.txt']")
    assert page.locator("#attached li").count() == 0


@pytest.mark.slow
def test_the_text_of_a_pdf_is_attached(page, tmp_path):
    pytest.importorskip("pypdf")
    (tmp_path / "one.pdf").write_bytes(document("The answer is 42."))
    page.set_input_files("#attach-file", tmp_path / "one.pdf")
    page.wait_for_selector("#attached li")
    page.press("#question", "Enter")
    page.wait_for_selector("article.user .file")
    assert page.text_content("article.user .file pre") == "The answer is 42."


RENDER = """async ([source, name]) => {
    const render = (await import("/page/render.js"))[name];
    const target = document.createElement("div");
    target.id = "formulas";
    document.getElementById("formulas")?.remove();
    document.getElementById("talk").append(target);
    render(target, source);
}"""


@pytest.mark.parametrize("name", ["render", "renderQuestion"])
def test_formulas_are_drawn_as_mathml_and_hostile_ones_stay_text(page, name):
    """Links, pictures, attributes, endless macros, deep nesting and huge spaces neither run nor end the rendering."""
    formulas = [
        "$x^2$ and $$\\frac{1}{2}$$",
        "$\\href{javascript:alert(1)}{x}$",
        "$\\includegraphics{x.png}$",
        "$\\def\\a{\\a\\a}\\a$",
        "$\\htmlData{x=1}{y}$ <math href='javascript:alert(2)'>",
        f"${'{' * 9000}x{'}' * 9000}$",
        "$\\rule{99999em}{99999em}$",
        "the price is $5 or $6",
    ]
    page.evaluate(RENDER, ["\n\n".join(formulas), name])
    assert page.locator("#formulas math msup").count() == 1
    assert page.locator("#formulas math[display=block] mfrac").count() == 1
    assert page.locator("#formulas :is(a, img, script, iframe), #formulas [href], #formulas [style]").count() == 0
    text = page.text_content("#formulas")
    assert "<math href='javascript:alert(2)'>" in text
    assert "the price is $5 or $6" in text
    assert page.locator("#formulas code.formula").count() == 2  # the endless macro and the deep one
    assert overflow(page) <= 0


@pytest.mark.slow
def test_the_formulas_of_a_question_are_drawn_and_its_lines_kept(page):
    page.fill("#question", "What is $x^2$\n# for *x* = 2?")
    page.press("#question", "Enter")
    page.wait_for_selector("article.user math msup")
    assert page.text_content("article.user > .text").endswith("\n# for *x* = 2?")
