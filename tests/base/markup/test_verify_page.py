"""The page that verifies receipts, as a text: joined scripts, its policy, and what is missing."""

import base64
import hashlib
import re
import shutil
import subprocess

import pytest

from intact._base.errors import FormatError, NotInstalledError
from intact._base.markup import verify_page
from intact._base.markup.verify_page import folder, joined, page

EMPTY = b"\0asm\1\0\0\0"
"""A WebAssembly module without anything in it."""


@pytest.fixture
def module(tmp_path):
    file = tmp_path / "intact.wasm"
    file.write_bytes(EMPTY)
    return file


def test_the_page_holds_everything_and_its_policy_allows_nothing_else(module):
    text = page(module)
    assert base64.b64encode(EMPTY).decode() in text
    assert "{{" not in text.partition("<script>")[0]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    allowed = {name: values.split() for name, _, values in (one.strip().partition(" ") for one in policy.split(";"))}
    for tag in ("script", "style"):
        (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in allowed[f"{tag}-src"]
    assert allowed["default-src"] == ["'none'"]
    assert "connect-src" not in allowed
    assert not re.search(r'(?:src|href)="(?!#|data:,")', text.partition("<script>")[0])


def test_a_joined_script_keeps_the_order_and_the_names_of_modules(tmp_path):
    files = {
        "a.js": 'import { two, three } from "./b/b.js";\nimport given from "./c.js";\n\n'
        "result.push(two, three(), given);\n",
        "b/b.js": 'import { one } from "../d.js";\n\nconst hidden = 1;\nexport const two = one + hidden;\n'
        "export function three() {\n  return 3;\n}\n",
        "c.js": "// alone\n\nexport default 4;\n",
        "d.js": "const one = 1;\nexport { one };\n",
    }
    (tmp_path / "b").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    script = joined(tmp_path / "a.js")
    assert re.findall(r"^const (m\d_\w+) = ", script, re.M) == ["m0_d", "m1_b", "m2_c", "m3_a"]
    if shutil.which("node") is None:
        pytest.skip("needs node")
    run = subprocess.run(
        ["node", "-e", f"const result = [];\n{script}console.log(JSON.stringify(result));"],
        capture_output=True,
        text=True,
    )
    assert run.stdout == "[2,3,4]\n", run.stderr


@pytest.mark.parametrize(
    "line",
    ['import * as all from "./b.js";', 'export * from "./b.js";', "const here = import.meta.url;", "// </script>"],
)
def test_what_cannot_be_joined_is_refused(tmp_path, line):
    (tmp_path / "a.js").write_text(f"{line}\n", "utf-8")
    (tmp_path / "b.js").write_text("", "utf-8")
    with pytest.raises(FormatError, match="cannot bundle"):
        joined(tmp_path / "a.js")


def test_every_script_of_the_page_is_joined():
    for entry in ("page/main.js", "src/worker.js"):
        script = joined(folder() / entry)
        assert not re.search(r"^(import|export)\b", script, re.M)
        assert script.count("(() => {\n") >= 5


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    shutil.copytree(folder(), tmp_path / "js", ignore=shutil.ignore_patterns("dist"))
    monkeypatch.setattr(verify_page, "_INSTALLED", tmp_path / "js")
    with pytest.raises(NotInstalledError, match=r"pip install ziglang && python scripts/wasm\.py"):
        page()
    (tmp_path / "text").write_text("text", "utf-8")
    for file, words in ((tmp_path / "absent", "cannot be read"), (tmp_path / "text", "is not a WebAssembly module")):
        with pytest.raises(FormatError, match=words):
            page(file)
    shutil.rmtree(tmp_path / "js" / "page")
    with pytest.raises(NotInstalledError, match="lacks the browser files; reinstall the package"):
        page()
