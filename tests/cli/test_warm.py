"""`intact run` and `chat` by a server of the same user: real processes, the same bytes, bad ends."""

import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from intact.checkpoints.catalogue import measured
from intact.cli import warm
from intact.serve import same_user
from support.patience import PATIENCE
from support.tiny import write_tiny

SETTLED = 2.1
BRIEF = 1.0
"""Seconds that a command waits for a server's description, unless these tests have it wait longer."""
PATIENT = (
    f"from intact.serve import same_user; same_user.connect.__defaults__ = ({PATIENCE},); "
    "from intact.cli import main; main()"
)
"""The command line for a busy machine, on which a server may need more than a second to describe itself."""


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    assert same_user.connect.__defaults__ == (BRIEF,)
    monkeypatch.setattr(same_user.connect, "__defaults__", (PATIENCE,))


@pytest.fixture
def folder():
    """A folder whose path is short: a socket's may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="i") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model whose file has not changed for a while."""
    folder = tmp_path_factory.mktemp("warm")
    write_tiny(folder / "tiny.gguf", "qwen3", context=2048)
    (folder / "run").mkdir()
    time.sleep(SETTLED)
    return folder


@contextmanager
def serving(place, *options):
    """Run `intact serve`; yield its process, with `url` and `socket`."""
    before = set(place.glob("run/intact/*.sock"))
    process = subprocess.Popen(
        [sys.executable, "-m", "intact", "serve", f"tiny={place / 'tiny.gguf'}", "--port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"INTACT_HOME": str(place / "home"), "XDG_RUNTIME_DIR": str(place / "run")},
    )
    try:
        for line in process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                break
        process.url, end = found[0], time.monotonic() + PATIENCE
        while httpx.get(process.url + "/ready").status_code != 200:
            assert time.monotonic() < end
            time.sleep(0.02)
        process.sockets = set(place.glob("run/intact/*.sock")) - before
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


@pytest.fixture(scope="module")
def server(place):
    with serving(place) as process:
        yield process


@pytest.fixture
def here(monkeypatch, place):
    """Let commands of this process find the servers of the module's folder."""
    monkeypatch.setenv("INTACT_HOME", str(place / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place / "run"))
    return place / "tiny.gguf"


REQUESTS = {
    "greedy": ["--max-tokens", "12"],
    "sampled": ["--temperature", "1", "--seed", "5", "-n", "3", "--json", "--logprobs"],
    "rules": ["--temperature", "2", "--regex", "[ab]{4}", "--logit-bias", "7=-2.5", "--repetition-penalty", "1.1"],
    "raw": ["--raw", "--temperature", "1", "--logprobs", "--max-tokens", "9", "--stop", "zz"],
    "system": ["--system", "Be brief.", "--now", "2026-01-02T03:04:05", "--max-tokens", "5", "--no-draft"],
    "model defaults": ["--model-defaults", "--max-tokens", "5"],
}


@pytest.mark.parametrize("options", REQUESTS.values(), ids=REQUESTS)
def test_the_same_bytes_with_and_without_a_server(intact_command, server, here, options):
    with_server = intact_command("run", "-m", here, "Why?", "-v", *options)
    without = intact_command("run", "-m", here, "Why?", "-v", "--no-server", *options)
    assert "answered by the server at" in with_server.err
    assert "the model is loaded here, because of --no-server" in without.err
    assert (with_server.code, without.code) == (0, 0)
    assert with_server.out == without.out
    assert with_server.out.strip()


def test_processes_print_the_same_bytes(server, here):
    words = [sys.executable, "-c", PATIENT, "run", "-m", here, "--temperature", "1", "--max-tokens", "40", "-v"]
    asked = [
        subprocess.run([*words, *options], input=b"Why?", capture_output=True, timeout=PATIENCE, check=True)
        for options in ([], ["--no-server"])
    ]
    assert asked[0].stdout == asked[1].stdout
    assert b"answered by the server" in asked[0].stderr


@pytest.mark.parametrize("options", [[], ["-n", "2"], ["--logprobs"]])
def test_receipts_are_the_same_too(intact_command, server, here, tmp_path, options):
    files = [tmp_path / "warm.receipt", tmp_path / "cold.receipt"]
    for file, where in zip(files, ([], ["--no-server"]), strict=True):
        arguments = ["--now", "2026-01-02T03:04:05", "--max-tokens", "5", "--receipt", file, *where, *options]
        assert intact_command("run", "-m", here, "Why?", *arguments).code == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    assert intact_command("verify", files[0], "--model", here).code == 0


def test_errors_are_the_same_too(intact_command, server, here):
    for options in (["--top-p", "2"], ["--logit-bias", "99999999=1"], ["--regex", "("]):
        both = [intact_command("run", "-m", here, "Why?", *options, *where) for where in ([], ["--no-server"])]
        assert (both[0].code, both[0].out, both[0].err) == (both[1].code, both[1].out, both[1].err)
        assert both[0].code == 2
    too_long = [intact_command("run", "-m", here, "word " * 3000, *where) for where in ([], ["--no-server"])]
    assert too_long[0].err == too_long[1].err != ""


def test_a_chat_has_the_same_answers(intact_command, server, here):
    said = "one\n/set temperature 1\ntwo\n/regenerate\n"
    both = [
        intact_command("chat", "-m", here, "--max-tokens", "8", "-v", *w, stdin=said) for w in ([], ["--no-server"])
    ]
    assert both[0].out == both[1].out
    assert "answered by the server" in both[0].err
    assert "with seed 1" in both[0].err


def test_the_log_names_the_same_model(intact_command, server, here, monkeypatch):
    monkeypatch.delenv("INTACT_NO_LOG")
    for where in ([], ["--no-server"]):
        assert intact_command("run", "-m", here, "Why?", "--max-tokens", "5", *where).code == 0
    first, second = (one["entries"][0] for one in intact_command("logs", "--json").json)
    assert first["model"] == second["model"]
    assert first["answers"] == second["answers"]
    assert intact_command("logs", "replay", "-v").code == 0


@pytest.mark.parametrize("options", [["--threads", "1"], ["--cache", "30MB"], ["--profile", "fp32"], ["--no-server"]])
def test_other_settings_are_computed_here(intact_command, server, here, options):
    assert "loaded here" in intact_command("run", "-m", here, "Why?", "-v", "--max-tokens", "2", *options).err


def test_another_tier_is_computed_here(intact_command, server, here, monkeypatch):
    monkeypatch.setenv("INTACT_ISA", "scalar")
    assert "loaded here" in intact_command("run", "-m", here, "Why?", "-v", "--max-tokens", "2").err


def test_another_model_version_or_changed_file_is_computed_here(intact_command, server, here, tmp_path, monkeypatch):
    other = write_tiny(tmp_path / "other.gguf", "qwen3", context=512)
    assert "no server has had this model" in intact_command("run", "-m", other, "Why?", "-v", "--max-tokens", "2").err
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(here.read_bytes())
    assert measured.known_digests(copy) is None
    monkeypatch.setattr("intact.__version__", "99.0")
    assert "and this version" in intact_command("run", "-m", here, "Why?", "-v", "--max-tokens", "2").err


def test_the_socket_is_for_this_user_alone(server, here):
    (path,) = server.sockets
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with same_user.connect(path) as connection:
        assert same_user.peer_user(connection) == os.geteuid()
    assert httpx.get(server.url + "/v1/same-user").status_code == 404
    assert httpx.post(server.url + "/v1/same-user/texts", json={}).status_code in (400, 404)


def test_what_is_no_socket_of_ours_is_passed_over(folder, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    assert same_user.sockets() == []
    listening = same_user.listen()
    path = folder / "intact" / Path(listening.getsockname()).name
    listening.listen()
    try:
        assert same_user.sockets() == [path]
        path.chmod(0o666)
        assert same_user.connect(path) is None
        assert same_user.sockets() == []
        path.chmod(0o600)
        monkeypatch.setattr(same_user, "peer_user", lambda _: os.geteuid() + 1)
        assert same_user.connect(path) is None
        monkeypatch.undo()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
        path.parent.chmod(0o755)
        assert same_user.sockets() == []
        with pytest.raises(ValueError, match="must be a folder of this user that other users cannot access"):
            same_user.listen()
    finally:
        path.parent.chmod(0o700)
        same_user.hide(listening)
        listening.close()
    assert not path.exists()
    (folder / "intact" / "serve-1-a.sock").write_text("no socket")
    (folder / "intact" / "serve-2-a.sock").symlink_to(path)
    assert same_user.sockets() == []


def test_a_new_server_removes_dead_sockets_and_no_others(folder, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    dead, alive = same_user.listen(), same_user.listen()
    alive.listen()
    dead_path, alive_path = (Path(one.getsockname()).name for one in (dead, alive))
    dead.close()
    third = same_user.listen()
    assert {path.name for path in same_user.sockets()} == {alive_path, Path(third.getsockname()).name}
    assert not (folder / "intact" / dead_path).exists()
    same_user.hide(alive)
    alive.close()
    same_user.hide(third)
    third.close()


def test_a_path_too_long_for_a_socket_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("x" * 100)))
    (tmp_path / ("x" * 100)).mkdir()
    with pytest.raises(ValueError, match="too long for a socket's path"):
        same_user.listen()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n\r\nnonsense", b"\xff" * 100, None])
def test_a_server_that_answers_nonsense_or_nothing_is_passed_over(folder, monkeypatch, place, answer):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.setattr(measured, "known_digests", lambda _: {})
    monkeypatch.setattr(warm, "known_digests", lambda _: {})
    listening = same_user.listen()
    listening.listen()
    listening.settimeout(PATIENCE)
    connect = same_user.connect
    monkeypatch.setattr(same_user, "connect", lambda path: connect(path, 0.3))
    script = f"""
server = socket.socket(fileno={listening.fileno()})
there, _ = server.accept()
there.recv(9999)
answer = {answer!r}
if answer is None:
    there.recv(9999)
else:
    there.sendall(answer)
"""
    process = subprocess.Popen([sys.executable, "-c", script], pass_fds=[listening.fileno()])
    try:
        found, why = warm.find_warm(place / "tiny.gguf", "int8", lambda: None)
        assert found is None
        assert "no server of this user" in why
    finally:
        same_user.hide(listening)
        listening.close()
        process.kill()
        process.wait()


def test_a_server_killed_in_the_midst_changes_nothing(intact_command, place, here, monkeypatch):
    with serving(place) as process:
        sockets = process.sockets
        chunk, count = warm.WarmModel._chunk, 0

        def killing(self, line):
            nonlocal count
            count += 1
            if count == 4:
                process.send_signal(signal.SIGKILL)
                process.wait()
            return chunk(self, line)

        monkeypatch.setattr(same_user, "sockets", lambda: sorted(sockets))
        monkeypatch.setattr(warm.WarmModel, "_chunk", killing)
        asked = ["run", "-m", here, "Why?"]
        arguments = [*asked, "--temperature", "1", "--max-tokens", "1500", "--regex", "[a-z ]{1500,}"]
        cut = intact_command(*arguments)
        assert count >= 4
        assert cut.err == "the server went away: loading the model here\n"
        assert cut.code == 0
        assert cut.out == intact_command(*arguments, "--no-server").out
        again = intact_command(*asked, "-v", "--max-tokens", "2")
        assert again.code == 0
        assert "loaded here" in again.err


def test_a_server_that_went_between_the_turns_of_a_chat_is_replaced(place, here, monkeypatch):
    import intact

    loaded = intact.load(here)
    with serving(place) as process:
        monkeypatch.setattr(same_user, "sockets", lambda: sorted(process.sockets))
        model, _ = warm.find_warm(here, "int8", lambda: loaded)
        asked = [{"role": "user", "content": "one"}], {"max_tokens": 6, "temperature": 1.0}
        first = [chunk.token for chunk in model.chat_stream(asked[0], **asked[1])]
        process.kill()
        process.wait()
        again = [chunk.token for chunk in model.chat_stream(asked[0], **asked[1])]
        ((whole),) = model.generate("one", n=2, max_tokens=3)
    assert first == again
    assert [one.tokens for one in whole] == [one.tokens for one in loaded.generate("one", n=2, max_tokens=3)[0]]


def test_keys_are_for_others(intact_command, place, here, tmp_path, monkeypatch):
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-sixteen-characters\n")
    with serving(place, "--api-keys", str(keys)) as process:
        monkeypatch.setattr(same_user, "sockets", lambda: sorted(process.sockets))
        assert httpx.get(process.url + "/v1/models").status_code == 401
        assert "answered by the server" in intact_command("run", "-m", here, "Why?", "-v", "--max-tokens", "2").err


def test_a_server_without_a_socket(place):
    with serving(place, "--no-socket") as process:
        assert process.sockets == set()


def test_an_interrupted_client_ends_the_servers_work(server, here):
    words = [
        sys.executable,
        "-c",
        PATIENT,
        "run",
        "-m",
        here,
        "Why?",
        "--max-tokens",
        "2000",
        "--regex",
        "[a-z ]{2000}",
    ]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    end = time.monotonic() + PATIENCE
    while 'intact_requests_running{model="tiny"} 0.0' not in httpx.get(server.url + "/metrics").text:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_digests_are_kept_by_the_state_of_the_files(tmp_path, monkeypatch):
    monkeypatch.setenv("INTACT_HOME", str(tmp_path / "home"))
    file = tmp_path / "model.gguf"
    file.write_bytes(b"1")
    assert measured.state_of(file) is None, "it changed a moment ago"
    monkeypatch.setattr(measured, "_SETTLED", 0)
    time.sleep(0.01)
    state = measured.state_of(file)
    measured.remember_digests(file, state, {"weights": "ab"})
    assert measured.known_digests(file) == {"weights": "ab"}
    file.write_bytes(b"2")
    time.sleep(0.01)
    assert measured.known_digests(file) is None
    measured.remember_digests(file, state, {"weights": "cd"})
    assert measured.known_digests(file) is None, "it changed while it was measured"
    (kept,) = (tmp_path / "home" / "digests").iterdir()
    new = measured.state_of(file)
    kept.rename(kept.with_name(f"{new}.json")).write_text("damaged")
    assert measured.known_digests(file) is None
    assert measured.state_of(tmp_path / "nothing") is None


def test_a_split_model_and_a_folder_have_the_state_of_all_their_files(tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "_SETTLED", 0)
    parts = [tmp_path / f"m-0000{number}-of-00002.gguf" for number in (1, 2)]
    for part in parts:
        part.write_bytes(b"1")
    time.sleep(0.01)
    states = {measured.state_of(parts[0])}, {measured.state_of(tmp_path)}
    parts[1].write_bytes(b"2")
    time.sleep(0.01)
    assert measured.state_of(parts[0]) not in states[0]
    assert measured.state_of(tmp_path) not in states[1]


def test_a_stopped_server_is_passed_over(place, monkeypatch, here):
    with serving(place) as process:
        monkeypatch.setattr(same_user, "sockets", lambda: sorted(process.sockets))
        process.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(same_user.connect, "__defaults__", (BRIEF,))
        assert warm.find_warm(here, "int8", lambda: None)[0] is None
        process.send_signal(signal.SIGCONT)
        monkeypatch.setattr(same_user.connect, "__defaults__", (PATIENCE,))
        end = time.monotonic() + PATIENCE
        while warm.find_warm(here, "int8", lambda: None)[0] is None:
            assert time.monotonic() < end
