"""Releases: what contradicts a tag is found before anything is built; sums, statements and archives are exact."""

import hashlib
import json
import re
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

from support.modules import load

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def release():
    return load("scripts/release.py")


@pytest.fixture
def tree(tmp_path):
    """A small repository, ready to be released as 1.2.3."""
    (tmp_path / "src/intact").mkdir(parents=True)
    (tmp_path / "src/intact/__init__.py").write_text('__version__ = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changes\n\n## Unreleased\n\n## 1.2.3 (2026-12-01)\n")
    who = "-c", "user.name=n", "-c", "user.email=e@example.org"
    for arguments in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "Release")):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    return tmp_path


def test_a_tag_that_agrees_has_no_problem(release, tree):
    assert release.disagreement(tree, "v1.2.3") == release.disagreement(tree, None) == ""


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("src/intact/__init__.py", '__version__ = "1.2.4"\n', "the tag is v1.2.3, but src/intact/__init__.py has"),
        ("CHANGELOG.md", "# Changes\n\n## 1.2.30\n", "CHANGELOG.md has no heading for 1.2.3"),
        ("new.py", "", "files are not committed"),
    ],
)
def test_what_contradicts_a_tag_is_named(release, tree, file, text, problem):
    (tree / file).write_text(text)
    assert problem in release.disagreement(tree, "v1.2.3")


@pytest.fixture
def built(tmp_path):
    """A folder with files of a release, and their contents."""
    files = {"a.whl": b"a", "b.tar.gz": b"bb", "untested/a+untested.whl": b"ccc"}
    (tmp_path / "untested").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return files


def test_sums_and_statement_cover_every_file(release, built, tmp_path):
    files = built
    release.sums(release.Release(tmp_path))
    release.sums(release.Release(tmp_path))  # its own files are not covered
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert (tmp_path / "SHA256SUMS").read_text() == "".join(f"{d}  {n}\n" for n, d in digests.items())
    statement = json.loads((tmp_path / "provenance.intoto.json").read_text())
    assert {one["name"]: one["digest"]["sha256"] for one in statement["subject"]} == digests
    commit = statement["predicate"]["buildDefinition"]["resolvedDependencies"][0]["digest"]["gitCommit"]
    assert re.fullmatch("[0-9a-f]{40}", commit)
    done = subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == [word for name in files for word in (f"{name}:", "OK")], done.stderr


def test_the_list_has_sizes_and_what_was_not_built(release, built, tmp_path):
    release.sums(release.Release(tmp_path))
    lines = release.listing(tmp_path, {"image": "needs mmdebstrap"}).splitlines()
    assert [line.split() for line in lines[:3]] == [[str(len(content)), name] for name, content in built.items()]
    assert [line.split()[1] for line in lines[3:5]] == ["SHA256SUMS", "provenance.intoto.json"]
    assert lines[5:] == ["not built here  image: needs mmdebstrap"]


def test_the_page_gets_the_list_between_its_marks(release, built, tmp_path):
    page = tmp_path / "page"
    page.write_text("before\n" + "\nold\n".join(release.MARKS) + "\nafter\n")
    for _ in range(2):  # again, it is the same
        release.write_page(page, release.table(tmp_path, {"image": "needs mmdebstrap"}, "c0ffee"))
        text = page.read_text()
        assert text.startswith("before\n" + release.MARKS[0])
        assert text.endswith(release.MARKS[1] + "\nafter\n")
        assert "old" not in text
        assert "| 3 | `untested/a+untested.whl` |" in text
        assert "| not built here | image: needs mmdebstrap |" in text


def test_the_page_of_releases_has_a_place_for_the_list(release):
    text = (ROOT / "docs/dev/releases.md").read_text()
    assert all(text.count(mark) == 1 for mark in release.MARKS)
    assert "SHA256SUMS" in text


def test_a_package_is_the_wheel_that_was_built_or_else_the_sources(release, tmp_path):
    made = release.Release(tmp_path)
    assert made.package("serve") == ".[serve]"
    wheel = (
        tmp_path / f"intact_llm-{release.version_of(ROOT)}-cp312-abi3-manylinux_2_17_{release.platform.machine()}.whl"
    )
    for name in (wheel.name, wheel.name.replace("cp312-abi3", "cp311-cp311")):
        (tmp_path / name).touch()
    assert made.wheel("cp312-abi3") == wheel
    assert made.wheel("cp312-abi3", "riscv64") is None
    assert made.package("serve").removesuffix("[serve]") in {str(path) for path in tmp_path.iterdir()}


def test_an_archive_depends_on_names_and_contents_alone(release, tmp_path):
    made = []
    for number in range(2):
        folder = tmp_path / f"site{number}"
        (folder / "in").mkdir(parents=True)
        (folder / "in" / "page.html").write_text("x")
        (folder / "in" / "page.html").chmod(0o600 if number else 0o664)
        release.pack(folder, tmp_path / "docs.tar.gz")
        made.append((tmp_path / "docs.tar.gz").read_bytes())
    assert made[0] == made[1]
    with tarfile.open(tmp_path / "docs.tar.gz") as file:
        assert file.getnames() == ["docs/in", "docs/in/page.html"]


def test_the_workflow_builds_parts_that_exist_and_stores_no_secret(release):
    text = (ROOT / ".github/workflows/release.yml").read_text()
    parts = [part for line in re.findall(r'parts: "([^"]+)"|--only (wheels)', text) for part in " ".join(line).split()]
    assert set(parts) == set(release.PARTS)
    assert "secrets." not in text
    assert "scripts/release.py --tag" in text


def test_the_workflow_publishes_no_untested_wheel(tmp_path):
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    (script,) = [
        step["run"] for step in workflow["jobs"]["publish"]["steps"] if "mkdir packages" in step.get("run", "")
    ]
    names = {
        "release-ubuntu-24.04": ("a-x86_64.whl", "a.tar.gz", "intact-docs-1.tar.gz", "i-amd64.oci.tar", "SHA256SUMS"),
        "release-ubuntu-24.04-arm": ("a-aarch64.whl", "a.tar.gz", "i-arm64.oci.tar", "SHA256SUMS"),
        "release-ubuntu-24.04/untested": ("a+untested-win_amd64.whl",),
    }
    for folder, files in names.items():
        (tmp_path / "files" / folder).mkdir(parents=True)
        for name in files:
            (tmp_path / "files" / folder / name).write_text(name)
    subprocess.run(["bash", "-eo", "pipefail", "-c", script], cwd=tmp_path, check=True)
    packages = {path.name for path in (tmp_path / "packages").iterdir()}
    assert packages == {"a-x86_64.whl", "a-aarch64.whl", "a.tar.gz"}
    published = {path.name for path in (tmp_path / "release").iterdir()}
    assert published == packages | {"intact-docs-1.tar.gz", "i-amd64.oci.tar", "i-arm64.oci.tar", "SHA256SUMS"}
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path / "release", check=True)


def test_a_part_without_its_tool_says_so(release, monkeypatch, tmp_path):
    monkeypatch.setattr(release.shutil, "which", lambda name: None)
    with pytest.raises(release.UnavailableError, match="needs npm"):
        release.npm(release.Release(tmp_path))
    for part, reason in (("image", "scripts/image.py|mmdebstrap"), ("modules", "the wheel with the stable ABI")):
        with pytest.raises(release.UnavailableError, match=reason):
            release.PARTS[part](release.Release(tmp_path))


def test_resume_keeps_parts_whose_files_are_there(release, monkeypatch, tmp_path, capsys):
    called = []

    def part(name):
        def build(made):
            called.append(name)
            if name == "image":
                raise release.UnavailableError("needs the moon")

        return build

    monkeypatch.setattr(release, "PARTS", {name: part(name) for name in release.PARTS})
    (tmp_path / "untested").mkdir()
    for name in ("a-manylinux_x86_64.whl", "untested/a.whl", "intact-docs-1.tar.gz"):
        (tmp_path / name).touch()
    words = ["release.py", "--out", str(tmp_path), "--resume"]
    monkeypatch.setattr(release.sys, "argv", words)
    release.main()
    assert called == ["image", "npm", "sbom", "sums"]
    assert "not built here  image: needs the moon" in capsys.readouterr().out
    monkeypatch.setattr(release.sys, "argv", [*words, "--tag", f"v{release.version_of(ROOT)}"])
    with pytest.raises(SystemExit):
        release.main()
    monkeypatch.setattr(release.sys, "argv", ["release.py", "--out", str(tmp_path), "--only", "npm", "wheels"])
    called.clear()
    release.main()
    assert called == ["wheels", "npm"]
    absent = [line.split()[3] for line in capsys.readouterr().out.splitlines() if "not among --only" in line]
    assert absent == ["image:", "sbom:", "sums:"]  # of the others, files are there
    monkeypatch.setattr(release.sys, "argv", ["release.py", "--out", str(tmp_path), "--only", "image"])
    with pytest.raises(SystemExit, match="image: needs the moon"):
        release.main()
