"""Receipts of runs by methods of other packages: stated, verified where the package is, and imported only if named."""

import json
from pathlib import Path

import pytest

from intact._base.errors import ParameterError, ReceiptError
from intact.solving.receipts.packages import MethodPackage, refusal
from support.adding import run_python, write_distribution

METHOD = '''
from intact.reason import Answer, Extend, Problem, Steps, method


@method("none", group="samples")
def {name}(problem: Problem, *, n: int = 2) -> Steps:
    """Give the answer of the last of n texts.

    Parameters
    ----------
    n : int
        Samples.
    """
    texts = yield [Extend(problem.start)] * n
    return Answer(problem.answer(texts[{which}]), chosen=texts[{which}])
'''
MAKE = """
from pathlib import Path
import intact
from support.tiny import write_tiny
model = intact.load(write_tiny(Path({folder!r}) / "tiny.gguf", context=512), drafter="off", threads=1)
result = intact.solve(model, {name!r}, "What is 2 + 2?", receipt=True, max_tokens=8, temperature=1.0)
Path({folder!r}, {file!r}).write_bytes(result.receipt.encode())
"""
VERIFY = """
import json, sys
from pathlib import Path
import intact
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.verify import verify_run
from support.tiny import write_tiny
folder = Path({folder!r})
model = intact.load(write_tiny(folder / "again.gguf", context=512), drafter="off", threads=1)
run = RunReceipt.parse(folder.joinpath("run.receipt").read_bytes())
found = verify_run(model, run, packages={packages!r})
print(json.dumps([found.outcome, found.what, found.detail, "of_mine" in sys.modules]))
"""


def package(folder: Path, which: int = -1, name: str = "last_text") -> Path:
    modules = {"of_mine": METHOD.format(name=name, which=which)}
    return write_distribution(folder, "my-methods", "intact.methods", {name: f"of_mine:{name}"}, modules)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a receipt by a method of the package in its folder `packages`, and one by an own method."""
    folder = tmp_path_factory.mktemp("foreign")
    packages = package(folder / "packages")
    run_python(MAKE.format(folder=str(folder), name="last_text", file="run.receipt"), packages)
    run_python(MAKE.format(folder=str(folder), name="self_consistency", file="with.receipt"), packages)
    run_python(MAKE.format(folder=str(folder), name="self_consistency", file="without.receipt"))
    return folder


def verdict(made: Path, packages: list[str], *path: Path) -> list[object]:
    found: list[object] = json.loads(run_python(VERIFY.format(folder=str(made), packages=packages), *path))
    return found


def test_a_receipt_states_the_package_of_its_method(made: Path) -> None:
    method = json.loads((made / "run.receipt").read_bytes())["method"]
    assert {**method["package"], "digest": len(method["package"]["digest"])} == {
        "name": "my-methods",
        "version": "1.0",
        "digest": 64,
    }


def test_a_package_that_is_installed_changes_no_other_receipt(made: Path) -> None:
    assert (made / "with.receipt").read_bytes() == (made / "without.receipt").read_bytes()


def test_a_run_is_verified_where_its_package_is_installed_and_named(made: Path) -> None:
    assert verdict(made, ["my-methods"], made / "packages") == ["true", None, "", True]


def test_no_package_is_imported_because_a_receipt_names_it(made: Path) -> None:
    outcome, what, detail, imported = verdict(made, [], made / "packages")
    assert (outcome, what, imported) == ("unverifiable", "method", False)
    assert "imported only if you name it: --package my-methods" in str(detail)


def test_a_package_that_is_missing_or_another_is_named(made: Path, tmp_path: Path) -> None:
    outcome, _, detail, _ = verdict(made, ["my-methods"])
    assert (outcome, str(detail)) == (
        "unverifiable",
        "the method 'last_text' is of the package 'my-methods' 1.0, which is not installed",
    )
    outcome, _, detail, imported = verdict(made, ["my-methods"], package(tmp_path / "changed", which=0))
    assert (outcome, imported) == ("unverifiable", False)
    assert str(detail).endswith("installed is other files of this version")
    outcome, _, detail, imported = verdict(made, ["my-methods"], package(tmp_path / "other", name="first_text"))
    assert (outcome, imported) == ("unverifiable", False)
    assert str(detail).endswith("which provides no such method here")


def test_no_package_stands_for_a_method_of_intact_itself() -> None:
    stated = MethodPackage("my-methods", "1.0", bytes(32))
    assert str(refusal("self_consistency", stated, ["my-methods"])).endswith("intact has a method of this name itself")


def test_malformed_packages_are_refused() -> None:
    with pytest.raises(ReceiptError, match=r"method\.package lacks the member 'digest'"):
        MethodPackage.from_document({"name": "a", "version": "1"})


def test_a_package_without_files_says_what_to_do(tmp_path: Path) -> None:
    from importlib.metadata import PathDistribution

    package(tmp_path)
    folder = tmp_path / "my_methods-1.0.dist-info"
    (tmp_path / "of_mine.py").unlink()
    with pytest.raises(ParameterError, match=r"my-methods lists files that cannot be read: .*of_mine"):
        MethodPackage.of(PathDistribution(folder))
    (folder / "RECORD").unlink()
    with pytest.raises(ParameterError, match=r"my-methods lists no Python files, .* not in editable mode"):
        MethodPackage.of(PathDistribution(folder))
