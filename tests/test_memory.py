"""What a model takes: little beyond its file, its vocabulary, and pages that hold little beyond their codes."""

import subprocess
import sys
from pathlib import Path

import pytest

from intact import _native
from intact.executors.native import available_tiers
from support.models import real_model

VOCABULARY_BYTES = 420
"""Of a token, in the tokenizer and the file's metadata."""
LOAD = """
import sys
from pathlib import Path

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))

import tokenizers, intact.executors.native, intact.library
before = resident()
model = intact.load(sys.argv[1], threads=1)
print(resident() - before, model.program.vocabulary)
model.generate([1] * 100, max_tokens=20, n=4, temperature=1.0, ignore_eos=True)
print(resident() - before, model.engine.pool.used * model.executor.page_bytes)
"""


@pytest.mark.parametrize("width", [64, 80, 96, 128, 256])
@pytest.mark.parametrize("page_size", [16, 32, 256])
def test_pages_hold_little_beyond_their_codes(width, page_size):
    """A key's codes take 2 bytes, a value's 1, their scales 4 each."""
    layers, heads = 3, 2
    model = _native.Model("int8", available_tiers()[0], 1, layers, heads, width, page_size, False)
    assert model.page_bytes <= 1.1 * layers * heads * page_size * (3 * width + 8)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("name", ["smollm2-135m", "qwen-coder-0.5b"])
def test_a_model_takes_little_beyond_its_file_and_its_vocabulary(name):
    path = real_model(name)
    done = subprocess.run([sys.executable, "-c", LOAD, str(path)], capture_output=True, text=True, check=True)
    (loaded, vocabulary), (running, pages) = (map(int, line.split()) for line in done.stdout.splitlines())
    most = 1.1 * path.stat().st_size + VOCABULARY_BYTES * vocabulary
    assert loaded < most
    assert running - 1.1 * pages < most + 40e6  # a step's rows, and their logits
