"""Rules for cross-built modules: each thing that is not as it must be is named."""

import pytest

from support.modules import load

STABLE = {"PyList_New", "_Py_Dealloc", "PyExc_ValueError"}


@pytest.fixture(scope="module")
def modules():
    return load("scripts/modules.py")


@pytest.fixture(params=["macosx_11_0_arm64", "win_amd64"])
def right(request, modules):
    """The rules of a system, and the facts about an object that keeps them."""
    rules = modules.MODULES[request.param].rules
    mac = request.param.startswith("mac")
    libraries = (
        ["/usr/lib/libSystem.B.dylib"] if mac else ["KERNEL32.dll", "api-ms-win-crt-heap-l1-1-0.dll", "python3.dll"]
    )
    facts = {
        "format": rules.format,
        "machine": rules.machine,
        "libraries": libraries,
        "python": [rules.prefix + name for name in STABLE],
        "exports": [rules.export],
        "unbound": [],
        "signed": True,
    }
    return facts, rules


def test_an_object_that_is_right_has_no_problem(modules, right):
    assert modules.problems(*right, STABLE) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"format": "ELF"}, "the format is ELF, expected"),
        ({"machine": "riscv"}, "the machine is riscv, expected"),
        ({"libraries": ["/opt/libc++.1.dylib"]}, "it loads /opt/libc++.1.dylib"),
        ({"libraries": ["python312.dll"]}, "it loads python312.dll"),
        ({"python": ["_PyLong_New"]}, "which is not in the stable ABI"),
        ({"python": []}, "it uses nothing of Python"),
        ({"exports": []}, "it exports nothing, expected"),
        ({"exports": ["PyInit__native", "sum"]}, "it exports PyInit__native, sum, expected"),
        ({"unbound": ["_memcpy"]}, "_memcpy has no library"),
        ({"signed": False}, "it has no signature"),
    ],
)
def test_what_is_wrong_is_named(modules, right, change, problem):
    facts, rules = right
    (found,) = modules.problems(facts | change, rules, STABLE)
    assert problem in found


def test_headers_of_another_system_have_its_sizes(modules):
    mac, windows = (modules.MODULES[system].header for system in ("macosx_11_0_arm64", "win_amd64"))
    assert "#define SIZEOF_LONG 8" in mac
    assert "#define SIZEOF_LONG 4" in windows
    assert "#define MS_WIN64 1" in windows
    assert "WIN" not in mac
