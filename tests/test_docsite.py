"""The documentation as a site (`scripts/docsite`): complete, searched, of its own files alone, accessible."""

import functools
import http.server
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from support.browser import browser, complaints, overflow

for package in ("furo", "myst_parser", "sphinx"):
    pytest.importorskip(package, reason=f"needs {package} (extra docs)")

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
REFERENCE = ["reference/python/intact", "reference/commands", "reference/http"]
LOOKED_AT = ["index", "docs/statistics", "study/gsm8k", *REFERENCE, "search"]


def build(out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/docsite", "--out", str(out), *more]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docsite") / "site"
    done = build(out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def address(site: Path):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


def test_every_page_of_the_repository_is_there(site: Path) -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "study").rglob("*.md")]
    assert [str(page) for page in pages if not (site / page.relative_to(ROOT)).with_suffix(".html").exists()] == []


def test_every_public_name_command_and_operation_has_its_place(site: Path) -> None:
    import intact
    from intact.cli.app import app

    text = (site / "reference" / "python" / "intact.html").read_text()
    shown = [name for name in intact.__all__ if name not in ("stats", "__version__")]
    assert [name for name in shown if f'id="intact.{name}"' not in text] == []
    text = (site / "reference" / "commands.html").read_text()
    assert [one.name for one in app.registered_commands if f'id="intact-{one.name}"' not in text] == []
    text = (site / "reference" / "http.html").read_text()
    assert 'id="post-v1-chat-completions"' in text
    assert 'id="get-v1-batches"' in text


def test_a_word_is_found_from_a_server_and_from_files(site: Path, address: str, chromium) -> None:
    for home in (address, site.as_uri()):
        page = chromium.new_page()
        said, asked = complaints(page), []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.goto(f"{home}/index.html")
        page.fill("input[name=q]", "detokenization")
        page.press("input[name=q]", "Enter")
        page.wait_for_selector("#search-results li a >> text=intact.text", timeout=60_000)
        page.click("#search-results li a >> text=intact.text")
        page.wait_for_selector("h1")
        assert said == [] or home != address  # from files a browser does not let the search read pages for its excerpts
        assert [url for url in asked if not url.startswith(home)] == []
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_issue(address: str, chromium, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    for width in (1280, 390):
        page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        for name in LOOKED_AT:
            page.goto(f"{address}/{name}.html")
            found = axe.Axe().run(page).response["violations"]
            assert [(name, one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found] == []
            assert overflow(page) <= 0
        page.close()


def test_pictures_are_shown(address: str, chromium) -> None:
    page = chromium.new_page()
    page.goto(f"{address}/study/gsm8k.html")
    widths = page.locator("article img").evaluate_all("images => images.map((one) => one.naturalWidth)")
    assert len(widths) == (ROOT / "study" / "gsm8k.md").read_text("utf-8").count("![") > 0
    assert min(widths) > 0
    page.close()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("[gone](docs/gone.md)", "docs/gone.md"),
        ("[gone](docs/README.md#gone)", "gone"),
        ("![](https://elsewhere.test/x.png)", "loads https://elsewhere.test/x.png"),
    ],
)
def test_a_link_that_leads_nowhere_and_a_picture_from_elsewhere_fail(tmp_path: Path, line: str, complaint: str) -> None:
    root = tmp_path / "root"
    for name, text in {
        "README.md": f"# Home\n\n{line}\n",
        "CHANGELOG.md": "# Changes\n",
        "CONTRIBUTING.md": "# Contributing\n",
        "SECURITY.md": "# Security\n",
        "docs/README.md": "# All\n\n## You use it\n\n- [Guide](guide.md): it.\n",
        "docs/guide.md": "# Guide\n",
        "study/notes/README.md": "# Notes\n",
        "benchmarks/README.md": "# Benchmarks\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    done = build(tmp_path / "site", "--root", str(root), "--no-reference")
    assert done.returncode == 1
    assert complaint in done.stderr
    (root / "README.md").write_text("# Home\n")
    done = build(tmp_path / "site", "--root", str(root), "--no-reference")
    assert done.returncode == 0, done.stderr
