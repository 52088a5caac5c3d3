"""The meter finds that llama.cpp's server answers otherwise in company (nightly; scripts/llama_server.sh builds it)."""

import os
import socket
import subprocess

import pytest

from support.models import real_model

pytestmark = pytest.mark.nightly
SERVER = os.environ.get("INTACT_LLAMA_SERVER", "")


@pytest.fixture
def url(tmp_path):
    if not SERVER:
        pytest.skip("INTACT_LLAMA_SERVER names no llama-server: scripts/llama_server.sh builds one")
    model = real_model("qwen-coder-0.5b")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [SERVER, "-m", model, "--port", str(port), "-np", "8", "-c", "16384", "-t", "2"]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def test_llama_server_answers_otherwise_in_company(url, intact_command):
    limits = "--max-seconds", "900", "--company", "2,8,32", "--pause", "0", "--temperature", "0"
    found = intact_command("meter", url, *limits, "--probes", "10", "--json")
    assert found.code == 1
    company = [one["share"] for one in found.json["groups"] if one["condition"].startswith("among")]
    assert any(share["changed"] for share in company)
    assert sum(share["answers"] for share in company) == 30
    assert found.json["owner"] == "llamacpp"
