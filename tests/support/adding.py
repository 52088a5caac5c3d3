"""Follow a recipe of docs/dev/adding.md: copy the package, add the page's files, use them in a new process.

A recipe shows each file that it adds in a block of code with a title: three backticks, then `python title="PATH"`.
Nothing else is changed in the copy, so that a recipe that leaves a file out fails. Edits are shown as
`diff title="PATH"`, as in a patch: lines with a minus go, those with a plus come, the others say where; `@@` parts
edits of one file.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import intact
from intact import _native
from support.modules import WITHOUT_EDITABLE

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r'^```(\w+) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def recipe(heading: str, *, edits: bool = False) -> dict[str, str]:
    """Return the files that a recipe adds, or those that it edits: paths in the repository and texts.

    Parameters
    ----------
    heading : str
        A section of docs/dev/adding.md, or a page of its own such as "operation.md".
    """
    if heading.endswith(".md"):
        section = (ROOT / "docs" / "dev" / heading).read_text()
    else:
        page = (ROOT / "docs/dev/adding.md").read_text()
        section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert section, f"docs/dev/adding.md has no section {heading!r}"
    return {path: text for language, path, text in _BLOCK.findall(section) if (language == "diff") == edits}


def copy_package(folder: Path) -> Path:
    """Copy the package's sources; return the folder that stands for the root of the repository."""
    source = ROOT / "src/intact"
    shutil.copytree(source, folder / "src/intact", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    extension = Path(str(_native.__file__))  # of the installed package, which may be elsewhere
    (folder / "src/intact" / extension.name).symlink_to(extension.resolve())
    return folder


def need_build_tools() -> None:
    """Skip the test where the extension cannot be built: the stage `recipes` of `.ci/run` installs what it takes."""
    pytest.importorskip("nanobind", reason="needs the tools of the build: pip install cmake nanobind ninja")
    for tool in ("cmake", "ninja"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs the tools of the build, {tool} is missing: pip install cmake nanobind ninja")


def follow(heading: str, folder: Path, *, files: int = 1) -> Path:
    """Copy the package and add the files of a recipe, none of which is there yet; return the copy's root.

    Parameters
    ----------
    files : int
        How many the recipe may add.
    """
    root = copy_package(folder)
    added = recipe(heading)
    assert len(added) == files, f"the recipe {heading!r} shows {len(added)} files: {', '.join(added)}"
    for name, text in added.items():
        path = root / name
        assert not path.exists(), f"{name} exists already: a recipe adds files and edits none"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def edit_files(heading: str, root: Path, *, files: int = 1) -> None:
    """Make the edits that a recipe shows in a copy of the repository, in so many files."""
    edited = recipe(heading, edits=True)
    assert len(edited) == files, f"the recipe {heading!r} edits {len(edited)} files: {', '.join(edited)}"
    for name, text in edited.items():
        (root / name).write_text(edit_text(name, (root / name).read_text(), text))


def edit_text(name: str, content: str, edits: str) -> str:
    """Make the edits that a recipe shows in a file's content."""
    for edit in edits.split("@@\n"):
        lines = edit.splitlines(keepends=True)
        before, after = ("".join(line[1:] for line in lines if line[0] in " " + sign) for sign in "-+")
        assert content.count(before) == 1, f"{name} does not hold once:\n{before}"
        content = content.replace(before, after)
    return content


def build_native(root: Path, tiers: str) -> None:
    """Build the extension in a copy that `copy_native` made, for some tiers and without optimisation for speed."""
    build = root / "build"
    configure = ["cmake", "-G", "Ninja", "-S", root, "-B", build, f"-DPython_EXECUTABLE={sys.executable}"]
    options = [f"-DINTACT_TIERS={tiers}", "-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O1", "-DINTACT_WERROR=ON"]
    for command in ([*configure, *options], ["cmake", "--build", build]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for library in (root / "src/intact").glob("_native*.so"):
        library.unlink()
    (built,) = build.glob("_native*.so")
    shutil.copy(built, root / "src/intact")


def copy_native(root: Path) -> None:
    """Copy what the extension is built from to the root of a copy."""
    for name in ("native", "cmake"):
        shutil.copytree(ROOT / name, root / name, dirs_exist_ok=True)
    shutil.copy(ROOT / "CMakeLists.txt", root)


def write_distribution(folder: Path, name: str, group: str, entries: dict[str, str], modules: dict[str, str]) -> Path:
    """Write an installed package with entry points into a folder for `sys.path`.

    Parameters
    ----------
    entries : dict
        Entry points of the group, such as ``{"mine": "my_module:mine"}``.
    modules : dict
        Names of modules and their texts.
    """
    information = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())]
    (information / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text)
    (information / "RECORD").write_text("".join(f"{module}.py,,\n" for module in modules))
    return folder


def run_python(program: str, *path: Path) -> str:
    """Run a program in a new process that finds modules in these folders first; return what it prints.

    The root of a copy that `follow` returned stands for its `src`.
    """
    copies = [folder / "src" for folder in path if (folder / "src/intact").is_dir()]
    folders = [*copies, *(folder for folder in path if folder / "src" not in copies), ROOT / "tests"]
    folders.append(Path(intact.__file__).parents[1])  # where it is not installed
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    if copies:
        program = WITHOUT_EDITABLE + program
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
