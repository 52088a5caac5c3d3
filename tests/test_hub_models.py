"""Models of repositories on the hub: names, choices, pulls with faults, and listings that are hostile."""

import hashlib
import json
import random
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import intact
from intact._base.errors import FormatError, IntactError, ParameterError
from intact.checkpoints.catalogue import HubName, MissingModelError, is_name, resolve
from intact.checkpoints.catalogue.listing import HubFile, Listing, is_wanted
from intact.checkpoints.catalogue.pulled import all_pulled
from intact.checkpoints.catalogue.variants import DEFAULT_QUANTISATIONS, choose, variants
from intact.checkpoints.download import DownloadError, NoSpaceError, plan_pull, pull_planned, removable, remove
from intact.checkpoints.formats import model_files
from support.folders import write_folder
from support.gguf_writer import split_gguf
from support.hub_server import COMMIT, serve
from support.hub_server import Hub as HubServer
from support.patience import PATIENCE
from support.pytorch_writer import save_as_pytorch
from support.tiny import write_tiny
from support.variants import VARIANTS

REPO = "someone/Tiny-GGUF"
NAME = f"hf:{REPO}"
CONTENT = random.Random(6).randbytes(3_000_000)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("INTACT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return tmp_path / "home"


@pytest.fixture
def hub(monkeypatch):
    files = {(REPO, f"tiny-{label}.gguf"): CONTENT + label.encode() for label in ("Q8_0", "Q4_K_M", "Q4_0")}
    with serve(HubServer(files)) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


@pytest.fixture
def small_chunks(monkeypatch):
    """Let the hub's client write every 500,000 bytes instead of every ten million."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 500_000)


def pull(name: str, **options):
    return pull_planned(plan_pull(HubName.parse(name)), **options)


def listing(*names: str) -> Listing:
    return Listing("o/r", "main", COMMIT, "mit", {name: HubFile(1, "0" * 64, None) for name in names})


def chosen(choice: str | None, *names: str) -> str:
    return choose(listing(*names), choice).key


def outside(home: Path) -> list[Path]:
    """Files that lie elsewhere than in the store."""
    return [path for path in home.parent.rglob("*") if path.is_file() and home not in path.parents]


# ---- names


@pytest.mark.parametrize(
    ("text", "repo", "revision", "choice"),
    [
        ("hf:a/b", "a/b", "main", None),
        ("hf:a/b:Q4_K_M", "a/b", "main", "Q4_K_M"),
        ("hf:a/b@v1.0", "a/b", "v1.0", None),
        ("hf:Some-One/x.y_z-1@refs/pr/1:dir/x-Q8_0.gguf", "Some-One/x.y_z-1", "refs/pr/1", "dir/x-Q8_0.gguf"),
    ],
)
def test_a_name_has_a_repository_a_revision_and_a_choice(text, repo, revision, choice):
    name = HubName.parse(text)
    assert (name.repo, name.revision, name.choice) == (repo, revision, choice)
    assert str(name) == text
    assert is_name(text)


@pytest.mark.parametrize(
    "text",
    [
        *("hf:", "hf:a", "hf:a/b/c", "hf:/a/b", "hf:../b", "hf:a/..", "hf:a/b:", "hf:a/b@", "hf:a/b@:x", "hf:.a/b"),
        *("hf:a/b@../x", "hf:a/b@/x", "hf:a/b@x\0y", "hf:a/b:\n", "hf:a/b\n", "hf:a\\b/c", f"hf:{'a' * 97}/b"),
        f"hf:a/b:{'x' * 301}",
    ],
)
def test_malformed_names_are_refused(text):
    with pytest.raises(ParameterError, match="hf:"):
        HubName.parse(text)
    with pytest.raises(ParameterError):
        resolve(text)


def test_a_name_that_was_not_pulled_says_how(hub):
    with pytest.raises(MissingModelError, match=f"run: intact pull {NAME}:Q8_0"):
        intact.load(f"{NAME}:Q8_0")
    assert hub.listed == []  # loading asks no hub


# ---- choices


def test_the_default_is_the_first_quantisation_of_a_stated_order():
    names = [f"m-{label}.gguf" for label in DEFAULT_QUANTISATIONS]
    while names:
        assert chosen(None, *sorted(names)) == names.pop(0)
    guide = (Path(__file__).parents[1] / "docs" / "models.md").read_text()
    assert ", ".join(DEFAULT_QUANTISATIONS) + ";" in guide


@pytest.mark.parametrize(
    ("choice", "key"),
    [
        ("q4_0", "m.Q4_0.gguf"),
        ("Q4_0", "m.Q4_0.gguf"),
        ("m.Q4_0.gguf", "m.Q4_0.gguf"),
        ("UD-Q4_K_XL", "m-UD-Q4_K_XL.gguf"),
        ("F16", "m-fp16.gguf"),
        ("Q6_K", "q6/m-Q6_K.gguf"),
        ("q6/m-Q6_K-00002-of-00002.gguf", "q6/m-Q6_K.gguf"),
        ("m-Q6_K.gguf", "q6/m-Q6_K.gguf"),
        ("safetensors", "safetensors"),
    ],
)
def test_a_choice_is_a_quantisation_or_a_file(choice, key):
    parts = ("q6/m-Q6_K-00001-of-00002.gguf", "q6/m-Q6_K-00002-of-00002.gguf")
    others = ("m.Q4_0.gguf", "m-UD-Q4_K_XL.gguf", "m-fp16.gguf", "config.json", "model.safetensors")
    assert chosen(choice, *parts, *others) == key


@pytest.mark.parametrize(
    ("choice", "names", "message"),
    [
        ("Q9_X", ("m-Q8_0.gguf", "m-Q4_0.gguf"), "has no 'Q9_X'; it has .*Q4_0, Q8_0"),
        ("Q8_0", ("a-Q8_0.gguf", "b-Q8_0.gguf"), "2 models Q8_0: a-Q8_0.gguf, b-Q8_0.gguf; give the name of a file"),
        (None, ("a-Q8_0.gguf", "b-Q8_0.gguf"), "give the name of a file"),
        (None, ("a.gguf", "b.gguf"), "several models: a.gguf, b.gguf; name one: hf:o/r:NAME"),
        ("NVFP4", ("m-NVFP4.gguf", "m-Q4_0.gguf"), "NVFP4 of o/r cannot be read"),
        (None, ("m-NVFP4.gguf",), "NVFP4 of o/r cannot be read"),
        (None, ("m-Q4_0_4_4.gguf",), "Q4_0_4_4 of o/r cannot be read"),
        (None, ("m-Q4_0-00001-of-00002.gguf",), "has no model"),
        (None, ("config.json", "tokenizer.json"), "has no model"),
        ("safetensors", ("m-Q8_0.gguf",), "has no 'safetensors'; it has Q8_0"),
        ("pytorch", ("config.json", "model.safetensors", "pytorch_model.bin"), "it has safetensors$"),
    ],
)
def test_a_choice_that_is_none_lists_what_there_is(choice, names, message):
    with pytest.raises(ParameterError, match=message):
        choose(listing(*names), choice)


def test_what_is_no_language_model_is_passed_over():
    wanted = ["m.gguf", "a/m.gguf", "config.json", "x.safetensors", "additional_chat_templates/tool.jinja"]
    wanted += ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"]
    others = ["mmproj-f16.gguf", "m.imatrix.gguf", "README.md", "a/config.json", "a/x.safetensors", "train.py", "a.bin"]
    assert [name for name in wanted + others if is_wanted(name)] == wanted


def test_many_files_that_claim_many_parts_are_listed_quickly():
    names = [f"m{i}-00001-of-99999.gguf" for i in range(9_000)] + ["m-Q4_0.gguf"]
    assert [one.key for one in variants(listing(*names))] == ["m-Q4_0.gguf"]


# ---- pulls


def test_a_pull_fetches_the_default_and_the_name_finds_it(hub, home):
    seen = []
    pulled = pull(NAME, report=lambda *state: seen.append(state))
    expected = CONTENT + b"Q4_K_M"
    assert pulled.fresh
    assert pulled.sha256 == hashlib.sha256(expected).hexdigest()
    assert ("fetch", len(expected), len(expected)) in seen
    for name in (NAME, f"{NAME}:Q4_K_M", f"{NAME}:tiny-Q4_K_M.gguf"):
        assert resolve(name) == pulled.path
    assert pulled.path.read_bytes() == expected
    with pytest.raises(MissingModelError):
        resolve(f"{NAME}:Q8_0")
    with pytest.raises(ParameterError, match="has no 'Q2_K'; it has Q4_0, Q4_K_M, Q8_0"):
        resolve(f"{NAME}:Q2_K")
    assert not outside(home)


def test_what_is_there_is_not_fetched_again(hub):
    pull(NAME)
    hub.ranges.clear()
    hub.listed.clear()
    assert not pull(NAME).fresh
    assert not pull(f"{NAME}:Q4_K_M").fresh
    assert (hub.ranges, hub.listed) == ([], [])


def test_a_damaged_file_is_replaced(hub):
    path = pull(NAME).path
    path.write_bytes(b"?" + path.read_bytes()[1:])
    assert pull(NAME).fresh
    assert path.read_bytes() == CONTENT + b"Q4_K_M"


def test_a_name_stays_what_it_was_until_it_is_removed(hub):
    pull(NAME)
    hub.files[REPO, "tiny-Q4_K_M.gguf"] = b"another"
    assert not pull(NAME).fresh
    remove(NAME)
    assert pull(NAME).path.read_bytes() == b"another"


def test_revisions_are_kept_apart(hub):
    a, b = pull(f"{NAME}@refs/pr/1:Q8_0").path, pull(f"{NAME}:Q8_0").path
    assert a != b
    assert a.read_bytes() == b.read_bytes()
    with pytest.raises(DownloadError, match="the revision does not exist"):
        pull(f"{NAME}@v7")


def test_a_split_model_is_fetched_whole_and_loaded(hub, tmp_path):
    whole = write_tiny(tmp_path / "Small-Q5_0.gguf")
    for part in split_gguf(whole, 3, tmp_path / "parts"):
        hub.files["o/split", f"Q5_0/{part.name}"] = part.read_bytes()
    pulled = pull("hf:o/split:Q5_0")
    assert pulled.sha256 is None
    assert len(pulled.files) == len(model_files(pulled.path)) == 3
    own = intact.load("hf:o/split", threads=1)
    assert own.generate([1, 5], max_tokens=3)[0][0].tokens == (
        intact.load(whole, threads=1).generate([1, 5], max_tokens=3)[0][0].tokens
    )


@pytest.mark.parametrize(("key", "shards"), [("safetensors", 1), ("safetensors", 2), ("pytorch", 1), ("pytorch", 2)])
def test_a_folder_is_fetched_and_loaded(hub, tmp_path, key, shards):
    several = shards > 1 and key == "safetensors"
    name = next(one for one, variant in VARIANTS.items() if (variant.files > 1) == several)
    folder = write_folder(tmp_path / "source", VARIANTS[name], name)
    if key == "pytorch":
        save_as_pytorch(folder / "model.safetensors", shards)
    for path in folder.iterdir():
        hub.files["o/folder", path.name] = path.read_bytes()
    hub.files["o/folder", "additional_chat_templates/tool.jinja"] = b"{{ messages }}"
    hub.files["o/folder", "training_args.bin"] = b"what is no model is not fetched"
    pulled = pull("hf:o/folder")
    assert pulled.path.name == key
    assert not (pulled.path / "training_args.bin").exists()
    assert (pulled.path / "additional_chat_templates" / "tool.jinja").is_file()
    there = {path.name for path in model_files(pulled.path)}
    assert there == {path.name for path in folder.iterdir()}
    assert intact.load("hf:o/folder", threads=1).path.exists()


def test_shards_that_the_repository_lacks_are_named(hub, tmp_path):
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "../../evil.safetensors"}}
    hub.files["o/folder", "config.json"] = b"{}"
    hub.files["o/folder", "model.safetensors.index.json"] = json.dumps(index).encode()
    hub.files["o/folder", "model-00001-of-00002.safetensors"] = b"x"
    with pytest.raises(
        DownloadError, match=r"names the shard '\.\./\.\./evil\.safetensors', which is not in the repository"
    ):
        pull("hf:o/folder")
    assert not all_pulled()[0].complete


# ---- faults


@pytest.mark.usefixtures("small_chunks")
def test_an_interrupted_pull_goes_on_where_it_stopped(hub, home):
    def interrupt(stage, done, total):
        if done >= 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(NAME, report=interrupt)
    (partial,) = home.rglob("*.partial")
    have = partial.stat().st_size
    assert 0 < have < len(CONTENT)
    with pytest.raises(MissingModelError):
        resolve(NAME)
    assert pull(NAME).path.read_bytes() == CONTENT + b"Q4_K_M"
    assert hub.ranges == [None, f"bytes={have}-"]
    assert len(hub.listed) == 1  # the same commit
    assert not list(home.rglob("*.partial"))


@pytest.mark.usefixtures("small_chunks")
def test_a_broken_connection_is_taken_up_again(hub):
    hub.cut = [1_234_567]
    assert pull(NAME).path.read_bytes() == CONTENT + b"Q4_K_M"
    assert hub.ranges == [None, "bytes=1000000-"]


@pytest.mark.usefixtures("small_chunks")
def test_a_connection_that_breaks_again_and_again_is_an_error_and_the_next_pull_goes_on(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    hub.cut = [1_234_567] + [0] * 20
    with pytest.raises(
        DownloadError, match="the part already downloaded is kept; run the same command again to continue"
    ) as caught:
        pull(NAME)
    assert "\n" not in str(caught.value)
    assert len(hub.ranges) <= 8
    hub.cut, hub.ranges = [], []
    assert pull(NAME).path.read_bytes() == CONTENT + b"Q4_K_M"
    assert hub.ranges == ["bytes=1000000-"]


def test_a_file_that_is_gone_from_the_hub_is_named(hub):
    chosen = plan_pull(HubName.parse(NAME))
    del hub.files[REPO, "tiny-Q4_K_M.gguf"]
    with pytest.raises(
        DownloadError, match=rf"cannot pull {NAME}: hub {REPO}: the repository has no file tiny-Q4_K_M\.gguf"
    ):
        pull_planned(chosen)


def test_a_damaged_part_is_thrown_away_and_all_is_fetched_anew(hub, home):
    chosen = plan_pull(HubName.parse(NAME))
    digest = hub.digest((REPO, "tiny-Q4_K_M.gguf"))
    partial = chosen.name.folder / chosen.variant.name / f".tiny-Q4_K_M.gguf.{digest[:16]}.partial"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"?" + CONTENT[1:1_000_000])
    assert pull_planned(chosen).path.read_bytes() == CONTENT + b"Q4_K_M"
    assert hub.ranges == ["bytes=1000000-", None]


def test_bytes_of_another_digest_are_thrown_away(hub, home):
    hub.lies[REPO, "tiny-Q4_K_M.gguf"] = "f" * 64
    with pytest.raises(DownloadError, match=r"has SHA-256 \w{64}, expected f{64}; it was deleted, try again"):
        pull(NAME)
    assert not [path for path in home.rglob("*") if path.stat().st_size > 10_000 and path.is_file()]


def test_a_configuration_of_another_git_digest_is_thrown_away(hub):
    hub.files["o/folder", "config.json"] = b"{}"
    hub.files["o/folder", "model.safetensors"] = b"x"
    hub.lies["o/folder", "config.json"] = "f" * 40
    with pytest.raises(DownloadError, match=r"config.json has the Git digest \w{40}, expected f{40}"):
        pull("hf:o/folder")


def test_more_bytes_than_stated_are_not_written(hub, home):
    hub.surplus = bytes(5_000_000)
    with pytest.raises(DownloadError, match="more than the expected 3000006 bytes"):
        pull(NAME)
    assert all(path.stat().st_size < 3_100_000 for path in home.rglob("*"))


def test_a_disk_without_room_is_seen_before_anything_is_fetched(hub, monkeypatch, home):
    usage = shutil.disk_usage(home.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(NoSpaceError, match="INTACT_HOME"):
        pull(NAME)
    assert hub.ranges == []


def test_a_disk_that_gets_full_is_an_error_that_leaves_no_model(hub):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))

    script = (
        "from intact.checkpoints.catalogue import HubName\n"
        "from intact.checkpoints.download import plan_pull, pull_planned\n"
        f"pull_planned(plan_pull(HubName.parse({NAME!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, preexec_fn=limit, timeout=PATIENCE, check=False
    )
    assert "NoSpaceError" in done.stderr.splitlines()[-1], done.stderr
    with pytest.raises(MissingModelError):
        resolve(NAME)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"token": "hf_secret"}, r"the repository is private or does not exist \(set HF_TOKEN\)"),
        ({"gated": True}, "accept the licence"),
        ({"files": {}}, "the repository does not exist"),
        ({"answer": b"<html>"}, "the list of files is not valid JSON"),
        ({"answer": b"[1]"}, "no list of files"),
        ({"answer": b'{"siblings": []}'}, "not a list of a repository's files"),
        ({"answer": b'{"sha": "../..", "siblings": []}'}, "expected 40 hexadecimal digits"),
        ({"answer": b" " * (33 << 20)}, "longer than 33554432 bytes"),
    ],
)
def test_what_the_hub_refuses_or_garbles_is_one_line(hub, change, message):
    for name, value in change.items():
        setattr(hub, name, value)
    with pytest.raises(DownloadError, match=message) as caught:
        pull(NAME)
    assert "\n" not in str(caught.value)
    assert f"cannot pull {NAME}" in str(caught.value)


def test_a_token_opens_what_is_private(hub, monkeypatch):
    hub.token = "hf_secret"
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert pull(NAME).fresh


def test_a_hub_that_is_away_is_one_line(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match=f"cannot pull {NAME}"):
        pull(NAME)


# ---- hostile listings


@pytest.mark.parametrize(
    "name",
    [
        *("../evil.gguf", "/etc/evil.gguf", "a/../../evil.gguf", "a//evil.gguf", ".hidden.gguf", "C:\\evil.gguf"),
        *("a\\evil.gguf", "e\nvil.gguf", "e\x00vil.gguf", "\u202eevil.gguf", "nul:.gguf", "x" * 250 + ".gguf"),
        *("é" * 60 + ".gguf", "\ud800.gguf", "a./evil.gguf", "additional_chat_templates/...jinja"),
    ],
)
def test_a_listing_with_a_name_that_leads_elsewhere_is_refused(hub, home, name):
    hub.siblings = [{"rfilename": name, "size": 1, "lfs": {"sha256": "0" * 64, "size": 1, "pointerSize": 1}}]
    with pytest.raises(DownloadError, match="is not allowed; expected a path within the repository"):
        pull(NAME)
    assert not outside(home)
    assert hub.ranges == []


@pytest.mark.parametrize("size", [None, -1, 1.5, "1", True, 1 << 60])
def test_a_listing_with_a_size_that_is_none_is_refused(hub, size):
    hub.siblings = [{"rfilename": "x.gguf", "size": size, "lfs": {"sha256": "0" * 64}}]
    with pytest.raises(DownloadError, match=r"x.gguf has the size"):
        pull(NAME)


@pytest.mark.parametrize("digest", ["", "x" * 64, "0" * 63, 5, ["0" * 64]])
def test_a_listing_with_a_digest_that_is_none_is_refused(hub, digest):
    hub.siblings = [{"rfilename": "x-Q2_K.gguf", "size": 1, "lfs": {"sha256": digest}}]
    with pytest.raises(IntactError, match=r"has the digest|no digest of"):
        pull(f"{NAME}:Q2_K")


def test_files_of_any_size_are_not_fetched(hub):
    hub.siblings = [{"rfilename": "x-Q2_K.gguf", "size": 10**11, "lfs": {"sha256": "0" * 64}}]
    with pytest.raises(FormatError, match="has 100,000,000,000 bytes; expected at most 50,000,000,000"):
        pull(f"{NAME}:Q2_K")
    assert pull(NAME).fresh  # the others are not concerned


def test_a_listing_of_too_many_files_is_refused(hub):
    hub.siblings = [{"rfilename": f"{i}.gguf", "size": 1} for i in range(10_001)]
    with pytest.raises(DownloadError, match="at most 10000 files"):
        pull(NAME)


def test_a_licence_cannot_steer_a_terminal(hub):
    hub.tags = ["license:\x1b[2Jevil", 5, "license:mit"]
    assert plan_pull(HubName.parse(NAME)).listing.licence == "mit"


def test_a_damaged_listing_in_the_store_is_named(hub):
    pull(NAME)
    path = HubName.parse(NAME).folder / "listing.json"
    path.write_text("{")
    with pytest.raises(FormatError, match=f"{path} is not valid JSON.*; delete its folder and pull the model again"):
        resolve(NAME)


# ---- what is in the store


def test_one_damaged_listing_holds_no_other_model_up(hub):
    hub.files["o/split", "a-Q8_0.gguf"], hub.files["o/third", "b-Q8_0.gguf"] = b"a", b"b"
    names = [NAME, "hf:o/split:a-Q8_0.gguf", "hf:o/third:b-Q8_0.gguf"]
    for name in names:
        pull(name)
    damaged = HubName.parse(NAME).folder / "listing.json"
    damaged.write_text("{")
    (record,) = HubName.parse(names[1]).folder.glob("*Q8_0*.json")
    record.write_text("[]")
    told = []
    (left,) = all_pulled(told.append)
    assert str(left.name).startswith("hf:o/third")
    assert [str(error).split(" ")[0] for error in told] == [str(record), str(damaged)]
    assert all("delete its folder and pull the model again" in str(error) for error in told)
    remove(names[2])
    assert all_pulled() == []


def test_all_models_are_listed_by_their_shortest_names_and_removed_one_by_one(hub, home):
    hub.files["o/split", "a-Q8_0.gguf"], hub.files["o/split", "b-Q8_0.gguf"] = b"a", b"b"
    for name in (f"{NAME}:tiny-Q8_0.gguf", NAME, "hf:o/split:a-Q8_0.gguf"):
        pull(name)
    assert [str(one.name) for one in all_pulled()] == ["hf:o/split:a-Q8_0.gguf", f"{NAME}:Q4_K_M", f"{NAME}:Q8_0"]
    assert removable(NAME).bytes > len(CONTENT)
    remove(NAME)
    assert [str(one.name) for one in all_pulled()] == ["hf:o/split:a-Q8_0.gguf", f"{NAME}:Q8_0"]
    assert resolve(f"{NAME}:Q8_0").is_file()
    remove(f"{NAME}:Q8_0")
    remove("hf:o/split:a-Q8_0.gguf")
    assert not any(path.is_file() for path in home.rglob("*"))
    with pytest.raises(ParameterError, match="cannot be removed"):
        remove(NAME)


def test_a_part_of_a_pull_is_listed_and_can_be_removed(hub, home):
    hub.gated = True
    with pytest.raises(DownloadError):
        pull(NAME)
    (one,) = all_pulled()
    assert not one.complete
    remove(NAME)
    assert all_pulled() == []


def test_a_model_that_is_being_pulled_is_not_removed(hub):
    from filelock import FileLock

    path = pull(NAME).path
    lock = FileLock(HubName.parse(NAME).folder / ".tiny-Q4_K_M.gguf.lock")
    with lock, pytest.raises(DownloadError, match="is being pulled right now"):
        remove(NAME)
    assert path.exists()
