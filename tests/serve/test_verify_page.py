"""`/verify`: the page that verifies receipts in the browser is handed out without a key, or says what is missing."""

import shutil

import httpx
import pytest

from intact._base.markup import verify_page
from intact.serve import app
from support.serving import running

KEY = "correct-horse-battery-staple"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package for JavaScript, whose module is an empty one."""
    copy = tmp_path / "js"
    shutil.copytree(verify_page.folder(), copy, ignore=shutil.ignore_patterns("dist", "node_modules"))
    (copy / "dist").mkdir()
    (copy / verify_page.WASM).write_bytes(b"\0asm\1\0\0\0")
    monkeypatch.setattr(verify_page, "_INSTALLED", copy)
    app._verification_page.cache_clear()
    yield copy
    app._verification_page.cache_clear()


def test_the_served_page_is_that_of_the_command_and_needs_no_key(package, tiny_path):
    with running({"tiny": tiny_path}, keys=(KEY,)) as server:
        answer = httpx.get(server.url + "/verify")
        assert answer.status_code == 200
        assert answer.text == verify_page.page()
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"
        assert httpx.get(server.url + "/verify/more").status_code == 401


def test_without_a_module_it_says_what_is_missing(package, tiny_path):
    (package / verify_page.WASM).unlink()
    with running({"tiny": tiny_path}) as server:
        answer = httpx.get(server.url + "/verify")
        assert answer.status_code == 404
        message = answer.json()["error"]["message"]
        assert message.startswith("dist/intact.wasm is missing: this installation was built without the WebAssembly")
        assert str(package.parent) not in answer.text
        (package / verify_page.WASM).write_bytes(b"\0asm\1\0\0\0")
        assert httpx.get(server.url + "/verify").status_code == 200
