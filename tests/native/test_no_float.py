"""The int8 profile holds no floating-point arithmetic: by the machine code of the loaded extension and of all objects.

The loaded extension shows what runs here: the kernels of this processor's tiers, and all that they call. The objects of
the build show everything else: tiers for other processors, and the functions around the kernels.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from intact import _native
from intact._native import fp32, kernels
from support.disassembly import FLOAT_OBJECTS, KERNELS, Disassembly, floats_of_object, functions, is_float

ROOT = Path(__file__).parents[2]
BUILD = Path(os.environ.get("INTACT_BUILD", ROOT / "build/dev"))
"""The build folder whose objects are looked into; units that were not built there are skipped, with the reason."""
TIERS = kernels.tiers()
FLOAT_TIERS = {f"tier_{tier}_fp32": ROOT / "native/tiers/tier_fp32.cpp.in" for tier in fp32.tiers()}
UNITS = {path.stem: path for path in sorted((ROOT / "native").rglob("*.cpp"))} | FLOAT_TIERS
"""The source of each object of the build; those of the fp32 profile's tiers are copies of one file."""
FLOAT_UNITS = [unit for unit in UNITS if FLOAT_OBJECTS.fullmatch(unit)]
OBJECT_FLOATS = {"x86_64": {"mulps", "addps", "vmulps", "vaddps"}, "aarch64": {"fmul", "fadd"}}
# Instructions that matrix products are made of, and the tiers that have them; all there are in the library are reached
# from their kernels.
DOT_PRODUCTS = {
    "tdpbssd": ("amx",),
    "vpdpbusd": ("avx512", "vbmi2"),
    "vpdpwssd": ("avx512", "vbmi2", "amx"),
    "vpmaddubsw": ("avx2",),
}
MEMORY = {"memcmp", "memcpy", "memmove", "memset"}


@functools.cache
def disassembly() -> Disassembly:
    if shutil.which("objdump") is None:
        pytest.skip("needs objdump, of Debian's package binutils")
    if not Path("/proc/self/maps").exists():
        pytest.skip("needs /proc/self/maps to tell where the extension is loaded")
    return Disassembly(Path(_native.__file__), platform.machine())


def entries(tier: str) -> dict[str, int]:
    """Where a tier's kernels lie in the library."""
    library = str(Path(_native.__file__).resolve())
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    base = min(int(fields[0].split("-")[0], 16) for fields in maps if fields[-1] == library)
    return {name: address - base for name, address in kernels.entry_points(tier).items()}


@pytest.mark.parametrize("tier", TIERS)
def test_kernels_compute_in_integers_only(tier: str) -> None:
    code, at = disassembly(), entries(tier)
    assert at.keys() >= KERNELS
    reached, outside = code.reach(at[name] for name in KERNELS)
    assert len(reached) > 5000
    floats = sorted({i.mnemonic for i in reached if is_float(i.mnemonic, code.machine)})
    assert not floats
    assert outside <= MEMORY


@pytest.mark.parametrize("mnemonic", DOT_PRODUCTS)
def test_all_dot_products_are_reached(mnemonic: str) -> None:
    """Proof that calls are followed: from the kernels of each tier held, and all in the library if all are held."""
    code, holders = disassembly(), list(DOT_PRODUCTS[mnemonic])
    if "amx" in holders and not any(i.mnemonic == "tdpbssd" for i in code.instructions):
        holders.remove("amx")  # which this build leaves out
    everywhere = {i.address for i in code.instructions if i.mnemonic == mnemonic}
    held = [tier for tier in holders if tier in TIERS]
    if not held:
        pytest.skip(f"{mnemonic}: needs a processor and a build with one of tiers {', '.join(DOT_PRODUCTS[mnemonic])}")
    # Of all kernels: those outside of KERNELS, such as a sigmoid, may have some too.
    reached = [{i.address for i in code.reach(entries(tier).values())[0]} & everywhere for tier in held]
    assert all(reached), f"no {mnemonic} was reached from one of {', '.join(held)}"
    if held == holders:  # else tiers that are not held, or cannot run here, may have the rest
        assert everywhere <= set.union(*reached), f"some {mnemonic} was not reached"


def test_drawing_computes_in_integers_only() -> None:
    code = disassembly()
    for tier in TIERS:
        at = entries(tier)
        reached, outside = code.reach([at["draw"], at["log_probability"]])
        if "_Znwm" not in outside:
            pytest.skip("the C++ runtime is part of this library, and no longer to be told from it")
        assert not sorted({i.mnemonic for i in reached if is_float(i.mnemonic, code.machine)})


def test_the_library_holds_floating_point_that_would_be_found() -> None:
    """The fp32 profile's: proof that the instructions are recognised in what this objdump prints."""
    code = disassembly()
    found = {i.mnemonic for i in code.instructions if is_float(i.mnemonic, code.machine)}
    expected = {"x86_64": {"mulps", "addps", "divss", "vmulps", "vaddps"}, "aarch64": {"fmul", "fadd", "fdiv"}}
    assert found >= expected[code.machine]


def object_of(unit: str) -> Path:
    """Return the object of a unit of native/; the test is skipped if it was not built, or is older than its sources."""
    if shutil.which("objdump") is None:
        pytest.skip("needs objdump, of Debian's package binutils")
    source = UNITS[unit]
    path = BUILD / "CMakeFiles/_native.dir" / source.relative_to(ROOT).with_name(f"{unit}.cpp.o")
    if not path.is_file():
        family = " (a tier of another family of processors)" if unit.startswith("tier_neon") else ""
        pytest.skip(f"{unit}.cpp was not built in {BUILD}{family}; INTACT_BUILD names the build folder")
    newest = max(sources(source), key=lambda source: source.stat().st_mtime)
    if newest.stat().st_mtime > path.stat().st_mtime:
        pytest.skip(f"{path} is older than {newest.relative_to(ROOT)}: build it again")
    return path


@functools.cache
def sources(path: Path) -> set[Path]:
    """Return a file of native/ and all that it includes."""
    included = re.findall(r'^ *# *include "(.+)"', path.read_text(), re.MULTILINE)
    return {path}.union(*(sources(ROOT / "native" / name) for name in included if name != "tiers/tiers.inc"))


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit not in FLOAT_UNITS])
def test_no_object_but_those_of_the_fp32_profile_computes_in_floating_point(unit: str) -> None:
    assert floats_of_object(object_of(unit), unit, platform.machine()) == {}


@pytest.mark.parametrize("unit", FLOAT_TIERS)
def test_floating_point_is_found_in_objects_of_the_fp32_profile(unit: str) -> None:
    found = set().union(*floats_of_object(object_of(unit), unit, platform.machine()).values())
    assert found & OBJECT_FLOATS[platform.machine()]


@pytest.mark.parametrize("tier", sorted({tier for tiers in DOT_PRODUCTS.values() for tier in tiers}))
def test_dot_products_are_found_in_the_objects_of_their_tiers(tier: str) -> None:
    """Proof that this objdump decodes what a tier's products are made of, on any processor."""
    found = set().union(*(function.mnemonics for function in functions(object_of(f"tier_{tier}"))))
    assert found >= {mnemonic for mnemonic, tiers in DOT_PRODUCTS.items() if tier in tiers}


FLOAT_WORDS = r"\b(?:float_kernel|float_biases|float_scale|float_epsilon|floats|float|double)\b"


@pytest.mark.parametrize("unit", ["run_int8", "convert", "plan", "forest"])
def test_the_int8_profile_calls_no_kernel_of_the_fp32_profile(unit: str) -> None:
    """Such a call goes through a table, and is not to be seen in machine code."""
    assert not re.findall(FLOAT_WORDS, re.sub(r"//.*", "", UNITS[unit].read_text()))


@pytest.mark.parametrize("operation", sorted(path.stem for path in (ROOT / "native/ops").glob("*.cpp")))
def test_an_operation_calls_kernels_of_the_fp32_profile_in_its_run_alone(operation: str) -> None:
    code = re.sub(r"//.*", "", UNITS[operation].read_text())
    definitions = re.split(r"\n(?=[^\s}])", code)  # each begins at the start of a line
    fp32 = re.compile(r"\bFp32Run\b|Profile::kFp32|^template <class T>")
    assert any(fp32.search(text) for text in definitions)
    assert not [text for text in definitions if not fp32.search(text) and re.search(FLOAT_WORDS, text)]


X86 = (
    """addps vaddpd mulss vmulsd vfmadd231ps vfnmadd132sd divps sqrtss vminps cmpltps vcmpeq_oqpd ucomiss vcomisd
    cvttss2si vcvtdq2ps vcvtph2ps vrndscaleps vrsqrt14ps vdpps vdpbf16ps haddps vreducepd fadd fldt fmulp roundss
    vaddph vmulsh vfmaddcph vfcmaddcsh vfcmulcph vcomish vgetexpsh vfpclassphx vfmaddsub213ph v4fmaddps vrcp28ps
    vaddbf16 vaddnepbf16 vmulbf16 vdivnepbf16 vminmaxbf16 vminmaxps vsqrtbf16 vrcpbf16 vscalefpbf16 vgetmantbf16
    vreducenepbf16 vrndscalebf16 vfpclasspbf16x vcmpeqbf16 vcomisbf16 vcomsbf16 vfmadd132bf16 vfnmsub231nepbf16
    vdpphps vcomxss vcomxsd vcomxsh vucomxss vucomxsd vbcstnebf162ps vcvtneps2bf16 vcvtph2bf8
    tdpbf16ps tdpfp16ps tcmmimfp16ps ttcmmrlfp16ps tdpbhf8ps tmmultf32ps ttdpbf16ps tcvtrowd2ps pfadd pi2fd""",
    """vpaddd vpmulld vpmaddubsw vpdpbusd vpdpwssd movss vmovaps vmovups vxorps andps vshufps vinsertf128 vpermps
    vunpcklps vbroadcastss vblendps cmpq cmovl add mul imul div sub shl vpcmpgtd vpminsd pmaxsd vpsraq vpmovqd cwtl
    cltq cqto vpmullq vextractf64x2 tdpbssd tdpbuud tilezero tileloadd tilestored vdbpsadbw vpmadd52luq vcompressps
    vgatherdps movmskps vtestps prefetcht1 pext cmpsb cmpxchg testb tzcnt""",
)
ARM = (
    """fadd fmul fmadd fmla fcvtzs fcmp fdiv fsqrt scvtf ucvtf frintm fmax bfdot fnmul bfadd bfmul bfmla bfmmla bfmlalb
    bfcvt bfmopa""",
    """add mul madd sdiv umulh smull sadalp fmov fneg fabs bfi bfm bfc bfxil movi dup ushl sqdmulh cmgt addv ldr str
    b.ne bl csel""",
)


@pytest.mark.parametrize(("machine", "floats", "others"), [("x86_64", *X86), ("aarch64", *ARM)])
def test_mnemonics_are_told_apart(machine: str, floats: str, others: str) -> None:
    assert [m for m in floats.split() if not is_float(m, machine)] == []
    assert [m for m in others.split() if is_float(m, machine)] == []


def test_numerics_needs_numpy_and_the_standard_library_alone(root: Path) -> None:
    modules = sorted(path.stem for path in (root / "src/intact/numerics").glob("*.py") if path.stem != "__init__")
    assert "matmul" in modules
    program = (
        "import importlib, json, sys\nbefore = set(sys.modules)\n"
        f"for name in {modules}: importlib.import_module('intact.numerics.' + name)\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    loaded = json.loads(output)
    known = {*sys.stdlib_module_names, "numpy", "cython_runtime", "intact"}
    foreign = {name.split(".")[0] for name in loaded} - known
    assert not {name for name in foreign if not name.startswith("_")}
    own = {
        name
        for name in loaded
        if name.split(".")[0] == "intact"
        and not name.startswith(("intact.numerics.weight_formats", "intact.numerics.kv_codecs"))
    }
    assert own == {
        "intact",
        "intact._base",
        "intact._base.errors",
        "intact._base.suggest",
        "intact.numerics",
        *(f"intact.numerics.{name}" for name in modules),
    }
