"""The image, started in a root of its own beside clients of both of its APIs, and as Testcontainers starts it.

`scripts/image.py` writes the archive, which $INTACT_IMAGE names; needs root's rights. The section `container` of
`.ci/nightly` does both.
"""

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

import intact
from intact.checkpoints.catalogue import DEFAULT
from support.containers import MACHINES, Container, config_of, read_blobs, unpack
from support.patience import PATIENCE

ARCHIVE = os.environ.get("INTACT_IMAGE", "")
pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(not ARCHIVE, reason="INTACT_IMAGE names no archive of an image"),
    pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root's rights"),
]
URL = "http://127.0.0.1:11434"
QUESTION = [{"role": "user", "content": "Why is the sky blue?"}]
LISTENS = "Listening on "
"""What Testcontainers for Python, Node.js and Go wait for in the log."""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    return unpack(Path(ARCHIVE), tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def container(unpacked):
    started = Container(*unpacked)
    started.wait(LISTENS)
    yield started
    assert started.stop() == 0
    assert "Application shutdown complete" in started.last_logs


@pytest.fixture
def network(container):
    with container.network():
        yield


def test_the_archive_is_this_version_within_its_size():
    files = read_blobs(Path(ARCHIVE))
    manifest, config = config_of(files)
    assert config["config"]["Labels"]["org.opencontainers.image.version"] == intact.__version__
    assert sum(layer["size"] for layer in manifest["layers"]) < 250_000_000
    assert Path(ARCHIVE).stat().st_size < 250_000_000


def test_packages_have_their_licences_and_descriptions_and_so_has_the_model(unpacked):
    root, _ = unpacked
    assert "Licence: Apache-2.0" in (root / f"usr/share/doc/{DEFAULT}/copyright").read_text()
    assert (root / "usr/share/common-licenses/Apache-2.0").exists()
    recorded = {path.name for path in (root / "var/lib/dpkg/status.d").iterdir()}
    assert {"bash", "libc6", "python3.11-minimal"} <= recorded
    for name in recorded - {"usr-is-merged"}:
        assert (root / "usr/share/doc" / name).exists()


def test_the_server_is_healthy_and_runs_without_rights_in_a_read_only_root(container):
    assert container.run("/usr/bin/ollama", "health").returncode == 0
    status = Path(f"/proc/{container.first_process()}/status").read_text()
    assert re.search(r"^Uid:\t10001\t10001\t10001\t10001$", status, re.MULTILINE)
    assert re.search(r"^CapEff:\t0{16}$", status, re.MULTILINE)


def test_ollamas_and_openais_clients_get_the_same_text(container, network):
    import ollama
    import openai

    client = ollama.Client(URL, timeout=PATIENCE)
    assert [model.model for model in client.list().models] == [DEFAULT]
    options = {"seed": 7, "num_predict": 16, "temperature": 0.8}
    first = client.chat(DEFAULT, QUESTION, options=options).message.content
    settings = {"seed": 7, "max_tokens": 16, "temperature": 0.8}
    other = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", timeout=PATIENCE)
    answer = other.chat.completions.create(model=DEFAULT, messages=QUESTION, **settings)
    assert answer.choices[0].message.content == first
    chunks = other.chat.completions.create(model=DEFAULT, messages=QUESTION, stream=True, **settings)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == first
    print("container: answered", json.dumps(first))


def test_other_containers_reach_it_by_its_names_and_no_page_does_by_another(network):
    for name, status in (("intact", 200), ("ollama", 200), ("evil.example", 403)):
        assert httpx.get(f"{URL}/api/version", headers={"host": f"{name}:11434"}).status_code == status


def test_the_command_answers_as_testcontainers_and_its_users_call_it(container):
    assert container.run("ollama", "--version").stdout.startswith("ollama version is 0.")
    assert container.run("ollama", "pull", DEFAULT).returncode == 0
    assert DEFAULT in container.run("ollama", "list").stdout
    assert container.run("ollama", "run", DEFAULT).returncode == 0
    assert container.run("ollama", "pull", "llama3").returncode == 1


def test_testcontainers_for_java_finds_the_port_open(container):
    """The command by which its HostPortWaitStrategy looks inside a container."""
    if MACHINES.get(config_of(read_blobs(Path(ARCHIVE)))[1]["architecture"]) != platform.machine():
        pytest.skip("the emulator runs no shell")
    look = "(cat /proc/net/tcp* | awk '{print $2}' | grep -i ':2caa' || /bin/bash -c '</dev/tcp/localhost/11434')"
    assert container.run("/bin/sh", "-c", look).returncode == 0
    assert container.run("/bin/sh", "-c", look.replace("2caa", "2cab").replace("11434", "11435")).returncode != 0


def test_a_command_adds_to_the_images_options(unpacked, tmp_path):
    root, config = unpacked
    other = Container(root, config, ["serve", "--any-name"])
    try:
        other.wait(LISTENS)
        with other.network():
            shown = httpx.post(f"{URL}/api/show", json={"model": "llama3.2:1b"}, timeout=PATIENCE)
        assert shown.status_code == 200
    finally:
        assert other.stop() == 0


class Docker:
    """What OllamaContainer asks of Docker, done by a container in namespaces."""

    def __init__(self, unpacked, **_):
        self.client, self._unpacked = self, unpacked

    id = short_id = "intact"
    status = "running"

    def info(self):
        return {"Runtimes": {"runc": {}}}

    def create(self, image, command, environment, ports, **_):
        assert [*map(str, ports)] == ["11434"]
        self.environment = environment
        return self

    def start(self, _):
        self._container = Container(*self._unpacked, variables=self.environment)

    def logs(self, stdout=True, stderr=True):
        return self._container.logs().encode() if stderr else b""

    def reload(self):
        assert self._container.first_process()

    def get_connection_mode(self):
        from testcontainers.core.config import ConnectionMode

        return ConnectionMode.docker_host

    def host(self):
        return "127.0.0.1"

    def port(self, _, port):
        return port

    def exec_run(self, cmd, **_):
        done = self._container.run(*(cmd.split() if isinstance(cmd, str) else cmd))
        self.last = done
        from docker.models.containers import ExecResult

        return ExecResult(done.returncode, (done.stdout + done.stderr).encode())

    def network(self):
        return self._container.network()

    def remove(self, **_):
        assert self._container.stop() == 0

    def close(self):
        pass


@pytest.mark.skipif(importlib.util.find_spec("testcontainers") is None, reason="needs testcontainers")
def test_testcontainers_for_python_starts_it_in_ollamas_place(unpacked, monkeypatch):
    from testcontainers.core import container as core
    from testcontainers.core.config import testcontainers_config
    from testcontainers.ollama import OllamaContainer

    docker = Docker(unpacked)
    monkeypatch.setattr(core, "DockerClient", lambda **_: docker)
    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", True)
    with OllamaContainer(f"intact:{intact.__version__}") as started, docker.network():
        assert started.get_endpoint() == URL
        assert [model["name"] for model in started.list_models()] == [DEFAULT]
        started.pull_model(DEFAULT)
        assert docker.last.returncode == 0
        body = {"model": DEFAULT, "messages": QUESTION, "stream": False, "options": {"num_predict": 4}}
        assert httpx.post(f"{started.get_endpoint()}/api/chat", json=body, timeout=PATIENCE).json()["done"] is True
    print("container: started by Testcontainers for Python")


@pytest.mark.skipif(shutil.which("podman") is None, reason="needs podman")
def test_podman_loads_and_runs_it_where_podman_works():
    loaded = subprocess.run(["podman", "load", "-q", "-i", ARCHIVE], capture_output=True, text=True)
    if loaded.returncode != 0:
        pytest.skip(f"podman does not work here: {loaded.stderr[-200:]}")
    name = ["--name", "intact-test", "--rm", "--network", "none"]
    started = subprocess.run(
        ["podman", "run", "-d", *name, f"intact:{intact.__version__}"], capture_output=True, text=True
    )
    if started.returncode != 0:
        pytest.skip(f"podman runs nothing here: {started.stderr[-200:]}")
    try:
        asked = ["podman", "exec", "intact-test", "sh", "-c", "until ollama health; do sleep 1; done; ollama list"]
        assert DEFAULT in subprocess.run(asked, capture_output=True, text=True, timeout=PATIENCE).stdout
        print("container: run by podman")
    finally:
        subprocess.run(["podman", "stop", "intact-test"], capture_output=True)
