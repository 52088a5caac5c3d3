"""The package as a whole: what it exports, what importing it costs, who may import what."""

import ast
import importlib
import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import intact
from intact.packages import DISTRIBUTION

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
    allowed = {"__future__", "intact.errors", "intact.numerics", "intact.weights", "numpy", *sys.stdlib_module_names}
    for path in sorted([*folder.glob("numerics/**/*.py"), *folder.glob("weights/**/*.py")]):
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
    assert (folder / "_native.pyi").exists()


@pytest.mark.native
def test_the_extension_is_part_of_the_package() -> None:
    native = importlib.import_module("intact._native")
    assert native.__doc__
    assert Path(native.__file__).parent == Path(intact.__file__).parent
