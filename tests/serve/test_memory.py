"""Memory of models that are unloaded: nothing keeps it, and the process gives it back."""

import time
import weakref
from pathlib import Path

import httpx
import pytest

from intact.engine import driver
from serve.test_command import command
from support.models import real_model
from support.patience import PATIENCE
from support.serving import running

MB = 1 << 20
SLACK = 64 * MB
"""What a server may keep of all models that it has had: of the coder's, less than a tenth."""


def test_nothing_keeps_an_unloaded_model(tiny_path, monkeypatch):
    monkeypatch.setattr(driver, "LINGER", 10 * PATIENCE)  # a thread that waits for more to do must not keep it either
    with running({"tiny": tiny_path}, unload_seconds=0.2) as server:
        one = server.service.models.served["tiny"]
        server.settle(lambda: one.model is not None)
        body = {"model": "tiny", "prompt": "x", "max_tokens": 5}
        assert httpx.post(server.url + "/v1/completions", json=body, timeout=PATIENCE).status_code == 200
        kept = weakref.ref(one.model.executor)
        server.settle(lambda: one.model is None)
        server.settle(lambda: kept() is None)


def resident(process):
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    (size,) = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return int(size) * 1024


def settled(process, most):
    """The resident memory once it is below so much; after PATIENCE whatever it is. It is given back a little later."""
    end = time.monotonic() + PATIENCE
    while (size := resident(process)) >= most and time.monotonic() < end:
        time.sleep(0.2)
    return size


@pytest.mark.slow
def test_memory_after_switching_is_that_of_a_fresh_start():
    models = real_model("smollm2-135m"), f"coder={real_model('qwen-coder-0.5b')}"
    limits = ("--memory", "700M", "--cache", "64M", "--idle", "3")  # either model, not both

    def ask(url, name):
        body = {"model": name, "prompt": "Once upon a time", "max_tokens": 4}
        assert httpx.post(url + "/v1/completions", json=body, timeout=PATIENCE).status_code == 200

    def unload(url):
        end = time.monotonic() + PATIENCE
        while any(one["status"] == "loaded" for one in httpx.get(url + "/v1/models").json()["data"]):
            assert time.monotonic() < end
            time.sleep(0.2)
        time.sleep(2)

    with command(*models, *limits) as (url, process):
        ask(url, "tiny")
        fresh = resident(process)
        unload(url)
        empty = resident(process)
        # weights and cache; the file's 92 MB left when they had been packed
        assert empty + 84 * MB < fresh < empty + 160 * MB
        for name in ("coder", "tiny", "coder", "tiny"):
            ask(url, name)
        assert settled(process, fresh + SLACK) < fresh + SLACK
        unload(url)
        assert settled(process, empty + SLACK) < empty + SLACK
