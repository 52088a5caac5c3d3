"""Rules for cross-built modules: each thing that is not as it must be is named."""

import subprocess

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


SOURCE = """
#define Py_LIMITED_API 0x030C0000
#include <Python.h>
#include <stdlib.h>
static PyObject *fill(PyObject *self, PyObject *size) {
    void *memory = calloc(PyLong_AsSize_t(size), 1);
    free(memory);
    if (memory == NULL) return PyErr_NoMemory();
    Py_RETURN_NONE;
}
static PyMethodDef methods[] = {{"fill", fill, METH_O, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_native", "", -1, methods, NULL, NULL, NULL, NULL};
PyMODINIT_FUNC PyInit__native(void) { return PyModule_Create(&module); }
"""


@pytest.mark.nightly
@pytest.mark.parametrize("system", ["macosx_11_0_arm64", "win_amd64"])
def test_a_small_module_is_compiled_linked_and_right(modules, system, tmp_path):
    """It has all that the extension has but C++, whose libraries zig would compile for minutes."""
    module, reader = modules.MODULES[system], modules.object_reader()
    zig = next(modules.own_tools().glob("lib/python3*/site-packages/ziglang")) / "zig"
    (tmp_path / "cc").write_text(f'#!/bin/sh\nexec "{zig}" cc -target {module.target} -mcpu=baseline "$@"\n')
    (tmp_path / "cc").chmod(0o755)
    (tmp_path / "m.c").write_text(SOURCE)
    include = modules.headers(tmp_path, modules.stable_python()[0], module.header)
    if system.startswith("win"):
        command = [tmp_path / "cc", "-shared", modules.import_library(tmp_path, module.target, reader)]
    else:
        more = "-bundle", "-Wl,-headerpad_max_install_names", "-Wl,@none.sym", "-Wl,-dead_strip", "-Wl,-x", "-Wl,-S"
        command = [modules.library_linker(tmp_path, tmp_path / "cc"), *more]
    made = tmp_path / module.file
    subprocess.run([*command, "-O2", "-fvisibility=hidden", f"-I{include}", "-o", made, tmp_path / "m.c"], check=True)
    assert "not run" in modules.check(system, made, reader)
