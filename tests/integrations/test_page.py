"""The examples of the page on frameworks run as they stand, with tiny models in the places of the named ones."""

import re

import pytest

from intact._base.packages import missing

NEEDS = {
    "langchain_core": "langchain-core",
    "llama_index": "llama-index-core",
    "dspy": "dspy",
    "deepeval": "deepeval",
    "opik": "opik",
}


def blocks(root):
    page = (root / "docs" / "frameworks.md").read_text()
    return re.findall(r"^```py.*?\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("place", range(6))
def test_an_example_runs(root, place, tiny_path, embedder_path, reranker_path, tmp_path, monkeypatch):
    block = blocks(root)[place]
    for module, package in NEEDS.items():
        if module in block and missing(package):
            pytest.skip(f"needs {package}")
    for name in ("DEEPEVAL_TELEMETRY_OPT_OUT", "OPIK_TRACK_DISABLE"):
        monkeypatch.setenv(name, "YES" if name.startswith("DEEP") else "true")
    monkeypatch.chdir(tmp_path)
    for name, path in (("embedder", embedder_path), ("reranker", reranker_path)):
        (tmp_path / f"{name}.gguf").symlink_to(path)
    named = re.sub(r"smollm2-135m-instruct|qwen2.5-coder-1.5b-instruct", str(tiny_path), block)
    exec(named, {})


def test_every_tool_has_an_example(root):
    assert len(blocks(root)) == 6
