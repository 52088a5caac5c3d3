"""Modules that may be left out: without its file, a server starts, and all else works."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import intact.serve
from support.modules import WITHOUT_EDITABLE
from support.patience import PATIENCE

PROGRAM = """
import json, sys
from pathlib import Path
import intact.serve
intact.serve.__path__[:] = [sys.argv[1]]
import httpx
from support.patience import PATIENCE
from support.serving import running

tiny, state = Path(sys.argv[2]), Path(sys.argv[3])
chat = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
found = {}
with running({"tiny": tiny}, state=state) as server:
    for name, path, body in [
        ("chat", "/v1/chat/completions", chat),
        ("method", "/v1/chat/completions", chat | {"model": "tiny:best-of-n-2"}),
        ("completions", "/v1/completions", {"model": "tiny", "prompt": "Hi", "max_tokens": 2}),
        ("messages", "/v1/messages", chat),
        ("responses", "/v1/responses", {"model": "tiny", "input": "Hi", "max_output_tokens": 2}),
        ("tokens", "/tokenize", {"prompt": "Hi"}),
        ("ollama", "/api/chat", chat | {"max_tokens": None, "options": {"num_predict": 2}}),
        ("tags", "/api/tags", None),
        ("files", "/v1/files", None),
        ("batches", "/v1/batches", None),
        ("page", "/", None),
        ("metrics", "/metrics", None),
    ]:
        answer = httpx.request("POST" if body else "GET", server.url + path, json=body, timeout=PATIENCE)
        found[name] = answer.status_code
print(json.dumps(found))
"""

OPTIONAL = {
    "tracing.py": [],
    "apis/anthropic/messages.py": ["messages"],
    "apis/openai/responses.py": ["responses"],
    "apis/openai/batches.py": ["batches"],
    "apis/openai/files.py": ["files", "batches"],
    "apis/openai/completions.py": ["completions", "batches"],
    "apis/tokens.py": ["tokens"],
    "apis/ollama": ["ollama", "tags"],
    "apis/ollama/models.py": ["tags"],
}
"""Files that may be left out, and what is then missing."""


QUICK = ("tracing.py", "apis/openai/completions.py", "apis/ollama")


@pytest.mark.parametrize(
    "file", [pytest.param(one, marks=[] if one in QUICK else pytest.mark.slow) for one in OPTIONAL]
)
def test_a_server_without_a_module_serves_the_rest(tiny_path, tmp_path, file):
    package = tmp_path / "serve"
    shutil.copytree(Path(intact.serve.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    if file.endswith(".py"):
        (package / file).unlink()
    else:
        shutil.rmtree(package / file)
    program = f"import intact.serve, intact._native\n{WITHOUT_EDITABLE}{PROGRAM}"
    words = [sys.executable, "-c", program, str(package), str(tiny_path), str(tmp_path / "state")]
    tests = Path(__file__).parents[1]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, cwd=tests, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    missing = [name for name, status in found.items() if status != 200]
    assert missing == OPTIONAL[file], found
    assert all(found[name] == 404 for name in missing)
