"""The image's command `ollama`, against a server with a tiny model."""

import io
import tempfile
from itertools import pairwise

import pytest

from intact.checkpoints.catalogue import CATALOGUE, DEFAULT
from intact.serve.server import SameUserServer
from support.modules import load
from support.serving import running
from support.tiny import write_tiny


@pytest.fixture(scope="module")
def ollama():
    return load("image/ollama.py")


@pytest.fixture(scope="module")
def tiny_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("ollama") / "tiny.gguf"
    write_tiny(path, "qwen3", context=2048)
    return path


@pytest.fixture(scope="module")
def server(tiny_path):
    with running({"tiny": tiny_path}) as server:
        yield server


@pytest.fixture
def run(ollama, server, monkeypatch, capsys):
    """Run the command; return its exit status, output and errors."""
    monkeypatch.setenv("OLLAMA_HOST", f"http://127.0.0.1:{server.port}")
    with tempfile.TemporaryDirectory(prefix="i") as empty:
        monkeypatch.setenv("XDG_RUNTIME_DIR", empty)

        def run(*arguments, stdin=""):
            monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
            status = ollama.main(arguments)
            return (status, *capsys.readouterr())

        yield run


def test_models_are_listed_as_ollama_lists_them(run):
    for name in ("list", "ls"):
        status, output, _ = run(name)
        titles, row = output.splitlines()
        assert (status, titles.split()) == (0, ["NAME", "ID", "SIZE", "MODIFIED"])
        assert row.split()[0] == "tiny"


def test_a_model_that_is_served_needs_no_pull(run):
    assert run("pull", "tiny") == (0, "", "success\n")
    assert run("pull", "tiny:latest")[0] == 0


def test_a_pull_of_an_unknown_model_fails_and_says_which_there_are(run):
    status, _, error = run("pull", "llama3")
    assert status == 1
    assert error.startswith("Error: pull model 'llama3': it is not a model of the catalogue; available: smollm2")


def test_a_prompt_is_answered_from_arguments_and_standard_input(run):
    status, output, _ = run("run", "tiny", "a", "b", stdin="c")
    assert status == 0
    assert output.strip()
    assert run("run", "tiny", "a b\nc")[1] == output
    assert run("run", "tiny") == (0, "", "")  # as Testcontainers' examples do, to load a model
    assert run("run", "other", "a")[0] == 1


def test_the_running_models_and_the_details_and_the_health_and_the_version_are_printed(run):
    run("run", "tiny", "a")
    assert "forever" in run("ps")[1]
    assert "qwen3" in run("show", "tiny")[1]
    assert run("health") == (0, "", "")
    for option in ("-v", "--version"):
        assert run(option)[1].startswith("ollama version is 0.")


def test_without_a_server_commands_fail_and_say_so(run, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    for command in (["health"], ["list"], ["pull", "tiny"]):
        status, _, error = run(*command)
        assert (status, "could not connect to the server" in error) == (1, True)
    assert run("--version")[1].startswith("Warning: could not connect to a running server\nWarning: client version")


@pytest.mark.parametrize("name", ["create", "cp", "rm", "push", "stop"])
def test_what_would_change_the_models_is_refused(run, name):
    assert run(name, "tiny") == (
        1,
        "",
        f"Error: ollama {name} is not available here: models are given to `serve`, or pulled\n",
    )


def test_the_image_serves_everyone_its_models_by_names_of_other_containers(ollama, monkeypatch, tmp_path):
    monkeypatch.setenv("INTACT_HOME", str(tmp_path))
    monkeypatch.setenv("OLLAMA_HOST", "0.0.0.0:11434")
    monkeypatch.setenv("INTACT_ALLOW_HOST", "llm,other")
    command = ollama.serve_command(["--seeds", "fixed"])
    assert command[:7] == ["intact", "serve", DEFAULT, "--host", "0.0.0.0", "--port", "11434"]
    allowed = [value for option, value in pairwise(command) if option == "--allow-host"]
    assert {"intact", "ollama", "llm", "other"} <= set(allowed)
    assert "--no-auth" in command
    assert command[-2:] == ["--seeds", "fixed"]


def test_keys_end_the_open_access_and_any_name_leaves_one_model(ollama, monkeypatch, tmp_path):
    monkeypatch.setenv("INTACT_HOME", str(tmp_path))
    assert "--no-auth" not in ollama.serve_command(["--api-keys", "/keys"])
    assert "--no-auth" not in ollama.serve_command(["--api-keys=/keys"])
    assert ollama.serve_command(["--any-name"])[2] == "--host"


def test_models_that_were_pulled_before_are_served_again(ollama, monkeypatch, tmp_path):
    monkeypatch.setenv("INTACT_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / CATALOGUE["qwen3-0.6b"].file).touch()
    assert ollama.serve_command([])[2:4] == [DEFAULT, "qwen3-0.6b"]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", ("127.0.0.1", 11434)),
        ("0.0.0.0", ("0.0.0.0", 11434)),
        ("0.0.0.0:8000", ("0.0.0.0", 8000)),
        (":8000", ("127.0.0.1", 8000)),
        ("http://intact:11434/", ("intact", 11434)),
        ("[::1]:8000", ("::1", 8000)),
    ],
)
def test_addresses_are_read_as_ollama_reads_them(ollama, monkeypatch, text, address):
    monkeypatch.setenv("OLLAMA_HOST", text)
    assert ollama.server_address() == address


def test_an_address_with_a_bad_port_is_refused(ollama, monkeypatch, capsys):
    monkeypatch.setenv("OLLAMA_HOST", "here:port")
    assert ollama.main(["serve"]) == 1
    assert "OLLAMA_HOST is 'here:port'; expected HOST:PORT" in capsys.readouterr().err


def test_the_servers_own_user_may_pull_while_others_may_reach_it(tiny_path, ollama, monkeypatch, capsys):
    """Through the socket, a pull gets past the refusal that clients on the network get (404 instead of 403)."""
    with tempfile.TemporaryDirectory(prefix="i") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        with running(
            {"tiny": tiny_path}, kind=SameUserServer, host="0.0.0.0", keys=("a key of 16 chars".replace(" ", "-"),)
        ) as server:
            monkeypatch.setenv("OLLAMA_HOST", f"0.0.0.0:{server.port}")
            assert ollama.main(["list"]) == 0  # without the key
            assert ollama.main(["pull", "other"]) == 1
            assert "is not a model of the catalogue" in capsys.readouterr().err
