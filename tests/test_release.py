"""Releases: what contradicts a tag is found before anything is built; sums, statements and archives are exact."""

import hashlib
import json
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

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


def test_sums_and_statement_cover_every_file(release, tmp_path, capsys):
    files = {"a.whl": b"a", "b.tar.gz": b"bb"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    release.sums(tmp_path)
    release.sums(tmp_path)  # its own files are not covered
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert (tmp_path / "SHA256SUMS").read_text() == "".join(f"{d}  {n}\n" for n, d in digests.items())
    statement = json.loads((tmp_path / "provenance.intoto.json").read_text())
    assert {one["name"]: one["digest"]["sha256"] for one in statement["subject"]} == digests
    commit = statement["predicate"]["buildDefinition"]["resolvedDependencies"][0]["digest"]["gitCommit"]
    assert re.fullmatch("[0-9a-f]{40}", commit)
    assert [line.split()[-1] for line in release.listing(tmp_path).splitlines()] == [
        *files,
        "SHA256SUMS",
        "provenance.intoto.json",
    ]


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
    parts = [part for line in re.findall(r'parts: "([^"]+)"', text) for part in line.split()]
    assert set(parts) == set(release.PARTS)
    assert "secrets." not in text
    assert "scripts/release.py --tag" in text


def test_a_part_without_its_tool_says_so(release, monkeypatch, tmp_path):
    monkeypatch.setattr(release.shutil, "which", lambda name: None)
    with pytest.raises(release.UnavailableError, match="needs npm"):
        release.npm(tmp_path)
