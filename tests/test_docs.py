"""What the documentation shows is what happens: its Python snippets run, its links lead somewhere."""

import doctest
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from intact.measure.bench.shapes import tokenizer_metadata
from support.models import real_model
from support.modules import load
from support.tiny import write_tiny
from support.vision import write_vision

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "study").rglob("*.md")),
]
NEEDS_A_MODEL = ("intact.load(", "open_checkpoint(")


def model_of(name: str, folder: Path) -> Path:
    """Return the file of a model that stands for the default one: the real one, or a tiny one of random weights."""
    if name == "real":
        return real_model("smollm2-135m")
    words = tokenizer_metadata(301)
    words["tokenizer.ggml.tokens"] = [*words["tokenizer.ggml.tokens"][:-3], "ye", "yes", "no"]
    words["tokenizer.ggml.merges"] = ["y e", "ye s", "n o", *words["tokenizer.ggml.merges"][:-3]]
    return write_tiny(folder / "tiny.gguf", "llama", layers=16, context=2048, metadata=words)


@pytest.fixture(params=["tiny", pytest.param("real", marks=pytest.mark.slow)])
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models that holds the default one, and a classifier of images."""
    return home_with(model_of(request.param, tmp_path), tmp_path, monkeypatch)


def home_with(model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a folder hold a model in the place of the default one, and a classifier of images."""
    from intact.checkpoints.catalogue import CATALOGUE, DEFAULT

    (folder / "models").mkdir()
    (folder / "models" / CATALOGUE[DEFAULT].file).symlink_to(model)
    write_vision(folder / "vit", "vit")
    monkeypatch.setenv("INTACT_HOME", str(folder))
    return folder


@pytest.mark.parametrize("page", [p for p in PAGES if ">>>" in p.read_text()], ids=lambda p: p.name)
def test_snippets_run_as_shown(page: Path) -> None:
    text = re.sub(r"^```.*$", "", page.read_text(), flags=re.MULTILINE)
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    if any(word in text for word in NEEDS_A_MODEL):
        from intact.measure.conformance import default_model

        if default_model() is None:
            pytest.skip("needs the default model: intact pull, or INTACT_MODELS")
    output: list[str] = []
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    doctest.DocTestRunner(optionflags=options).run(test, out=output.append)
    assert not output, "".join(output)


def _blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [p for p in PAGES if "intact.load(" in "".join(_blocks(p))], ids=lambda p: p.name)
def test_examples_of_a_page_run(page: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)  # where they may write
    names: dict[str, object] = {}
    for block in _blocks(page):
        exec(block, names)


@pytest.mark.parametrize("pattern", [r"--receipt|verify sky", pytest.param("", marks=pytest.mark.slow)])
def test_the_transcript_of_the_readme_is_what_its_commands_print(
    pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = home_with(real_model("smollm2-135m"), tmp_path, monkeypatch)
    text = (ROOT / "README.md").read_text().partition("<!-- transcript -->\n```console\n")[2].partition("```")[0]
    exchanges = re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", text, flags=re.MULTILINE)
    assert len(exchanges) >= 5
    environment = dict(os.environ, PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    for command, output in exchanges:
        if not re.search(pattern, command):
            continue
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=home,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.stdout == output, command


def test_the_digest_of_the_readmes_picture_is_that_of_its_transcript() -> None:
    shown = set(re.findall(r">([0-9a-f]{8,})…<", (ROOT / "docs" / "same_bits.svg").read_text()))
    assert len(shown) == 1
    assert (ROOT / "README.md").read_text().count(shown.pop()) == 2


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    names = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-") for name in names}


def _links(page: Path) -> list[tuple[str, str]]:
    """Return the relative links of a page: file and anchor."""
    text = re.sub(r"^```.*?^```|`[^`\n]+`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"\]\(([^)#:\s]*)(?:#([^)]*))?\)", text)
    return [(link, anchor) for link, anchor in found if link or anchor]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    missing = []
    for link, anchor in _links(page):
        there = (page.parent / link) if link else page
        if not there.exists() or (anchor and there.suffix == ".md" and anchor not in _anchors(there)):
            missing.append(f"{link}#{anchor}")
    assert not missing, f"{page.name} links to {missing}"


FOLDERS = "src/intact|native|tests|scripts|benchmarks|cmake|conformance|examples|build_backend"


@pytest.mark.parametrize("page", [p for p in PAGES if p.parent.name != "notes"], ids=lambda p: p.name)
def test_files_of_the_repository_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(rf"`((?:{FOLDERS})/[\w./]+)`", page.read_text())
    missing = [name for name in named if "NAME" not in name and not (ROOT / name).exists()]
    assert not missing, f"{page.name} names {missing}"


def test_the_index_lists_every_page_of_every_shelf_once() -> None:
    docs, study = ROOT / "docs", ROOT / "study"
    pages = [path for shelf in (docs, docs / "spec", docs / "dev", study) for path in shelf.glob("*.md")]
    text = (docs / "README.md").read_text()
    entries = re.findall(r"^- \[[^]]+\]\(([\w./]+\.md)\)", text, flags=re.MULTILINE)
    assert sorted((docs / entry).resolve() for entry in entries) == sorted({*pages} - {docs / "README.md"})


def test_the_list_of_notes_has_every_note_once() -> None:
    index = ROOT / "study" / "notes" / "README.md"
    entries = re.findall(r"^- \[[^]]+\]\((\w+\.md)\)", index.read_text(), flags=re.MULTILINE)
    assert sorted(entries) == sorted({path.name for path in index.parent.glob("*.md")} - {index.name})


def test_every_page_that_moved_is_where_the_index_says() -> None:
    moved = load("scripts/docsite/pages.py").moved(ROOT)
    assert moved["docs/numerics"] == "docs/spec/numerics"
    assert moved["docs/notes/tile_shapes"] == "study/notes/tile_shapes"
    assert [now for now in moved.values() if not (ROOT / f"{now}.md").is_file()] == []
    assert [before for before in moved if (ROOT / f"{before}.md").exists()] == []


@pytest.mark.parametrize("note", sorted((ROOT / "study" / "notes").glob("[!R]*.md")), ids=lambda p: p.stem)
def test_a_design_note_has_a_date_a_machine_and_one_conclusion(note: Path) -> None:
    text = note.read_text()
    assert re.match(r"# .+\n\n- Date: 20\d\d-\d\d-\d\d\n- Machine: \S[^|]*?\n- Conclusion: \S", text)
    assert text.count("- Conclusion:") == 1
    assert len(text.split()) <= 350


def test_every_method_has_a_page_and_stands_in_the_list() -> None:
    from intact.reason.registry import all_methods

    page = (ROOT / "docs" / "reasoning.md").read_text()
    table = page.partition("## The methods\n")[2].partition("\n## ")[0].partition("| | |\n")[2]
    rows = re.findall(r"^\| ([^|]+) \| (.+) \|$", table, re.MULTILINE)
    listed = [(name, group) for group, links in rows for name in re.findall(r"\[(\w+)\]\(methods/\1\.md\)", links)]
    assert sorted(listed) == sorted((name, method.group) for name, method in all_methods().items())
    assert sorted(path.stem for path in (ROOT / "docs" / "methods").glob("*.md")) == sorted(all_methods())


def test_every_task_says_which_file_it_takes_and_from_where() -> None:
    from intact.tasks import all_tasks

    rows = [line for line in (ROOT / "docs" / "tasks.md").read_text().splitlines() if line.startswith("| `")]
    for task in all_tasks().values():
        for file in filter(None, task.files.values()):
            (row,) = [row for row in rows if f"`{task.name}`" in row]
            assert f"`{file}`" in row
            assert f"| {task.licence} |" in row
            assert row.endswith(f"| {task.source} |")


def test_every_command_stands_in_the_guide() -> None:
    from typer.main import get_command

    from intact.cli.app import app

    table = (ROOT / "docs" / "guide.md").read_text().partition("## Command line\n")[2].partition("\n### ")[0]
    for name in get_command(app).commands:
        assert re.search(rf"`intact {name}\b", table), f"the table of commands lacks {name}"


def test_every_extra_stands_in_the_guide() -> None:
    from intact.cli.doctor import FOR_PROGRAMMERS

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    table = (ROOT / "docs" / "guide.md").read_text().partition("### Extras\n")[2].partition("\n### ")[0]
    names = " ".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))
    listed = set(re.findall(r"`([\w-]+)`", names))
    assert listed == set(project["optional-dependencies"]) - set(FOR_PROGRAMMERS)
