"""The package as a whole: what it exports, what importing it costs, who may import what."""

import ast
import enum
import importlib
import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import intact
from intact._base.packages import DISTRIBUTION
from support.modules import load

HEAVY = {"huggingface_hub", "jinja2", "numpy", "rich", "safetensors", "tokenizers", "typer"}


def modules_after(statement: str) -> set[str]:
    """Names of the modules that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return set(json.loads(output))


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not modules_after("import intact") & (HEAVY | {"intact._native"})


@pytest.mark.parametrize("name", intact.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(intact, name) is not None
    assert name in dir(intact)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = intact.lod


def test_public_names_are_where_type_checkers_look_for_them() -> None:
    tree = ast.parse(Path(intact.__file__).read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    declared = {
        alias.name: node.module for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert declared == intact._HOMES
    assert sorted({*declared, "__version__"}) == intact.__all__


def test_the_version_is_that_of_the_distribution() -> None:
    try:
        installed = version(DISTRIBUTION)
    except PackageNotFoundError:
        pytest.skip("intact is imported from a source tree, not installed")
    assert intact.__version__ == installed


def test_numerics_imports_numpy_alone() -> None:
    folder = Path(intact.__file__).parent
    allowed = {
        "__future__",
        "intact._base",
        "intact._base.errors",
        "intact.numerics",
        "intact.numerics.weight_formats",
        "numpy",
        *sys.stdlib_module_names,
    }
    for path in sorted(folder.glob("numerics/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for name in names:
                root = ".".join(name.split(".")[:2]) if name.startswith("intact") else name.split(".")[0]
                assert root in allowed, f"{path.name}:{node.lineno} imports {name}"


def test_type_information_is_shipped() -> None:
    folder = Path(intact.__file__).parent
    assert (folder / "py.typed").exists()
    assert {path.stem for path in (folder / "_native").glob("*.pyi")} == {"__init__", "fp32", "kernels"}


def members(thing: Any) -> dict[str, Any]:
    """Public names of a module or class of the extension, with those of each class and module in it."""
    names = thing.__members__ if isinstance(thing, enum.EnumType) else vars(thing)
    public = {name: getattr(thing, name) for name in names if not name.startswith("_")}
    return {name: members(one) if isinstance(one, type | ModuleType) else {} for name, one in public.items()}


def declared(file: Path) -> dict[str, Any]:
    """Names that a stub file declares, as `members` has those of the module."""

    def names(body: list[ast.stmt]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for node in body:
            if isinstance(node, ast.Assign):
                found |= {target.id: {} for target in node.targets if isinstance(target, ast.Name)}
            elif isinstance(node, ast.ImportFrom) and node.module == "intact._native":
                found |= {alias.name: declared(file.with_name(f"{alias.name}.pyi")) for alias in node.names}
            elif isinstance(node, ast.ClassDef):
                found[node.name] = names(node.body)
            elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                found[node.name] = {}
        return found

    return names(ast.parse(file.read_text()).body)


def test_types_of_the_extension_name_all_that_it_has() -> None:
    assert declared(Path(intact.__file__).parent / "_native/__init__.pyi") == members(
        importlib.import_module("intact._native")
    )


def test_types_of_the_extension_are_those_that_its_bindings_state() -> None:
    pytest.importorskip("nanobind")
    stubs = load("scripts/native_stubs.py")
    if not (stubs.FOLDER / "__init__.pyi").read_text().startswith(stubs.header()):
        pytest.skip("another version of nanobind wrote them")
    for path, text in stubs.made().items():
        assert path.read_text() == text, "run scripts/native_stubs.py"


@pytest.mark.native
def test_the_extension_is_part_of_the_package() -> None:
    native = importlib.import_module("intact._native")
    assert native.__doc__
    assert Path(native.__file__).parent == Path(intact.__file__).parent
