"""Archives of images: complete, as the OCI specification says, the same bytes each time."""

import io
import json
import os
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from support.containers import config_of, read_blobs
from support.modules import load

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs modes and links")


@pytest.fixture(scope="module")
def image():
    return load("scripts/image.py")


def write_tree(tree: Path, late: bool = False) -> Path:
    """Write a tiny root; if `late`, in another order, at another time and with another umask."""
    files = {"etc/passwd": b"root", "usr/bin/run": b"#!/bin/sh\n", "var/lib/intact/models/m.gguf": b"weights"}
    for name, content in sorted(files.items(), reverse=late):
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o664 if late else 0o644)
        os.utime(path, (1, 1) if late else None)
    (tree / "usr/bin/run").chmod(0o775 if late else 0o755)
    (tree / "usr/bin/also").symlink_to("run")
    os.link(tree / "etc/passwd", tree / "etc/passwd-") if late else (tree / "etc/passwd-").write_bytes(b"root")
    (tree / "tmp").mkdir()
    (tree / "tmp").chmod(0o1777)
    return tree


def make(image, folder: Path, architecture: str = "amd64", late: bool = False):
    folder.mkdir()
    layer = image.write_layer("files", write_tree(folder / "tree", late), folder / "layer.tar.gz", image.owner)
    facts = image.Facts("1.2.3", "c0ffee", "little", "ab" * 32, "Apache-2.0", "2026-12-01T00:00:00Z")
    return image.Image(architecture, (layer,), facts)


def test_the_same_files_give_the_same_bytes_whoever_wrote_them_and_when(image, tmp_path):
    first, second = make(image, tmp_path / "a"), make(image, tmp_path / "b", late=True)
    assert first.layers[0].digest == second.layers[0].digest
    for name, one in (("a", first), ("b", second)):
        image.write_archive(tmp_path / f"{name}.tar", [one], "intact:1.2.3")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_a_layer_is_sorted_with_numeric_owners_and_one_time(image, tmp_path):
    layer = make(image, tmp_path / "a").layers[0]
    with tarfile.open(layer.path) as tar:
        entries = {entry.name: entry for entry in tar}
    names = list(entries)
    assert names == sorted(names, key=lambda name: PurePosixPath(name).parts)
    assert {(entry.mtime, entry.uname) for entry in entries.values()} == {(1_577_836_800, "")}
    assert entries["etc/passwd"].uid == 0
    assert entries["etc/passwd-"].isreg()
    assert entries["var/lib/intact/models/m.gguf"].uid == entries["var/lib/intact"].gid == 10001
    assert entries["var/lib"].uid == 0
    assert entries["usr/bin/also"].linkname == "run"
    assert (oct(entries["tmp"].mode), oct(entries["usr/bin/run"].mode)) == ("0o1777", "0o755")


def test_pipes_and_devices_are_refused(image, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"pipe is neither a folder nor a file nor a link"):
        image.write_layer("files", tmp_path, tmp_path / "layer.tar.gz")


def test_an_archive_is_a_layout_that_docker_loads_too(image, tmp_path):
    made = make(image, tmp_path / "a")
    image.write_archive(tmp_path / "a.tar", [made], "intact:1.2.3")
    files = read_blobs(tmp_path / "a.tar")  # checks the digests
    manifest, config = config_of(files)
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (top,) = json.loads(files["index.json"])["manifests"]
    assert top["platform"] == {"architecture": "amd64", "os": "linux"}
    assert top["annotations"]["org.opencontainers.image.ref.name"] == "1.2.3"
    for described in (top, manifest["config"], *manifest["layers"]):
        assert len(files["blobs/" + described["digest"].replace(":", "/")]) == described["size"]
    (docker,) = json.loads(files["manifest.json"])
    assert docker["RepoTags"] == ["intact:1.2.3"]
    assert json.loads(files[docker["Config"]]) == config
    with tarfile.open(fileobj=io.BytesIO(files[docker["Layers"][0]])) as tar:
        assert tar.extractfile("usr/bin/run").read() == b"#!/bin/sh\n"
    assert config["rootfs"]["diff_ids"] == [made.layers[0].diff_id]
    assert made.size == sum(len(content) for name, content in files.items() if name.startswith("blobs/"))


def test_both_architectures_share_an_archive_and_the_layers_that_are_equal(image, tmp_path):
    images = [make(image, tmp_path / name, name) for name in ("amd64", "arm64")]
    image.write_archive(tmp_path / "both.tar", images, "intact:1.2.3")
    files = read_blobs(tmp_path / "both.tar")
    assert "manifest.json" not in files
    (top,) = json.loads(files["index.json"])["manifests"]
    inner = json.loads(files["blobs/" + top["digest"].replace(":", "/")])
    platforms = [one["platform"] for one in inner["manifests"]]
    assert platforms == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm64", "os": "linux", "variant": "v8"},
    ]
    assert sum(name.startswith("blobs/") for name in files) == 1 + 2 * 2 + 1


def test_a_container_has_no_rights_and_one_port_and_a_health_check_and_states_the_models_licence(image, tmp_path):
    config = json.loads(make(image, tmp_path / "a").config)["config"]
    assert config["User"] == "10001:10001"
    assert config["ExposedPorts"] == {"11434/tcp": {}}
    assert "Volumes" not in config  # a commit of a container would lose what is in them
    assert [*config["Entrypoint"], *config["Cmd"]] == ["/usr/bin/ollama", "serve"]
    assert config["Healthcheck"]["Test"] == ["CMD", "/usr/bin/ollama", "health"]
    labels = config["Labels"]
    assert (labels["intact.model"], labels["intact.model.licence"]) == ("little", "Apache-2.0")
    assert labels["org.opencontainers.image.version"] == "1.2.3"


def test_an_image_that_is_too_large_is_refused(image, tmp_path, monkeypatch, capsys):
    made = make(image, tmp_path / "a")
    monkeypatch.setattr(image, "LARGEST", made.size)
    image.print_sizes(made)
    assert "amd64 files" in capsys.readouterr().out
    monkeypatch.setattr(image, "LARGEST", made.size - 1)
    with pytest.raises(SystemExit, match=rf"{made.size:,} bytes for amd64; at most {made.size - 1:,} are allowed"):
        image.print_sizes(made)


def test_a_model_other_than_the_default_is_refused(image, tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"weights")
    with pytest.raises(
        SystemExit, match=r"m\.gguf has SHA-256 [0-9a-f]{64}; expected SmolLM2-135M-Instruct\.Q4_1\.gguf"
    ):
        image.check_model(tmp_path / "m.gguf")


def test_each_architecture_takes_its_own_wheel(image, tmp_path):
    names = ["intact_llm-1-cp311-cp311-manylinux_2_17_x86_64.whl", "intact_llm-1-cp312-abi3-manylinux_2_17_x86_64.whl"]
    wheels = [tmp_path / name for name in names]
    for wheel in wheels:
        wheel.touch()
    assert image.wheel_for(wheels, "amd64").name == names[0]
    with pytest.raises(SystemExit, match=r"arm64 needs one wheel for cp311 and aarch64; got intact_llm-1-cp311"):
        image.wheel_for(wheels, "arm64")


def test_a_debian_loses_what_nobody_reads_and_keeps_its_licences(image, tmp_path):
    for name in ("doc/bash/copyright", "doc/bash/changelog.gz", "man/man1/bash.1", "base-passwd/passwd.master"):
        path = tmp_path / "usr/share" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("root:*:0:0:root:/root:/bin/bash\n")
    (tmp_path / "usr/share/base-passwd/group.master").write_text("root:*:0:\n")
    (tmp_path / "usr/share/doc/libbash").symlink_to("bash")
    for name in ("etc/apt", "usr/bin", "var/cache/apt"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "etc/resolv.conf").write_text("this machine's")
    image.trees.finish_debian(tmp_path)
    kept = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert {"usr/share/doc/bash/copyright", "usr/share/doc/libbash", "tmp", "proc", "usr/bin/awk"} <= kept
    assert not {"usr/share/doc/bash/changelog.gz", "usr/share/man", "etc/apt", "etc/resolv.conf", "var/cache"} & kept
    users = (tmp_path / "etc/passwd").read_text().splitlines()
    assert users == ["root:x:0:0:root:/root:/bin/bash", "intact:x:10001:10001::/var/lib/intact:/bin/sh"]
    assert (tmp_path / "etc/group").read_text() == "root:x:0:\nintact:x:10001:\n"


def test_an_installed_package_forgets_where_it_came_from(image, tmp_path):
    info = tmp_path / "one-1.dist-info"
    info.mkdir()
    (info / "direct_url.json").write_text("{}")
    (tmp_path / "one.py").touch()
    rows = ["one.py,sha256=x,1", "one-1.dist-info/direct_url.json,sha256=y,2", "one-1.dist-info/RECORD,,"]
    (info / "RECORD").write_text("\n".join([*rows, "../../bin/one,sha256=z,3"]) + "\n")
    image.trees.forget_origin(tmp_path)
    assert not (info / "direct_url.json").exists()
    assert (info / "RECORD").read_text() == "one-1.dist-info/RECORD,,\none.py,sha256=x,1\n"


def test_the_model_is_in_the_store_with_its_licence(image, tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"weights")
    image.trees.build_model(tmp_path / "tree", tmp_path / "m.gguf", "little", "Apache-2.0")
    assert (tmp_path / "tree/var/lib/intact/models/m.gguf").read_bytes() == b"weights"
    note = (tmp_path / "tree/usr/share/doc/little/copyright").read_text()
    assert "Licence: Apache-2.0; its text is in /usr/share/common-licenses/Apache-2.0" in note
