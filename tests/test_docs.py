"""What the documentation shows is what happens: its Python snippets run, its links lead somewhere."""

import doctest
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
NEEDS_A_MODEL = ("intact.load(", "open_checkpoint(")


@pytest.mark.parametrize("page", [p for p in PAGES if ">>>" in p.read_text()], ids=lambda p: p.name)
def test_snippets_run_as_shown(page: Path) -> None:
    text = re.sub(r"^```.*$", "", page.read_text(), flags=re.MULTILINE)
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    if any(word in text for word in NEEDS_A_MODEL):
        from intact.conformance import default_model

        if default_model() is None:
            pytest.skip("needs the default model: intact pull, or INTACT_MODELS")
    output: list[str] = []
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    doctest.DocTestRunner(optionflags=options).run(test, out=output.append)
    assert not output, "".join(output)


def _blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [p for p in PAGES if "intact.load(" in "".join(_blocks(p))], ids=lambda p: p.name)
def test_examples_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from intact.catalogue import CATALOGUE, DEFAULT
    from intact.conformance import default_model

    model = default_model()
    if model is None:
        pytest.skip("needs the default model: intact pull, or INTACT_MODELS")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / CATALOGUE[DEFAULT].file).symlink_to(model)
    monkeypatch.setenv("INTACT_HOME", str(tmp_path))
    names: dict[str, object] = {}
    for block in _blocks(page):
        exec(block, names)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`\n]+`", "", page.read_text())  # a regular expression may look like a link
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing, f"{page.name} links to {missing}"


def test_every_method_has_a_page_and_stands_in_the_list() -> None:
    from intact.reason.registry import all_methods

    page = (ROOT / "docs" / "reasoning.md").read_text()
    table = page.partition("## The methods\n")[2].partition("\n## ")[0].partition("| | |\n")[2]
    listed = re.findall(r"\[(\w+)\]\(methods/\1\.md\)", table)
    assert sorted(listed) == sorted(all_methods())
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


def test_every_extra_stands_in_the_guide() -> None:
    from intact.cli.doctor import FOR_PROGRAMMERS

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    table = (ROOT / "docs" / "guide.md").read_text().partition("### Extras\n")[2].partition("\n### ")[0]
    names = " ".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))
    listed = set(re.findall(r"`([\w-]+)`", names))
    assert listed == set(project["optional-dependencies"]) - set(FOR_PROGRAMMERS)
