"""The machine code that functions of a shared library can reach, by objdump: works on stripped libraries too.

Functions are found by the frame descriptions that exceptions need; calls, jumps, addresses taken and tables of pointers
are followed.
"""

from __future__ import annotations

import bisect
import ctypes
import functools
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# A tier's kernels but for those that draw, which allocate: where the C++ runtime is part of the library they reach it.
KERNELS = {
    "quantize_narrow", "quantize_wide", "quantize_to", "sparsify", "hadamard", "matmul", "norm_narrow", "norm_wide",
    "sine_cosine", "rotate", "gate", "append", "attend", "weights", "multiply_adds", "read_bytes",
}  # fmt: skip

# Arithmetic, comparison and conversion; moves, bitwise operations and shuffles of the same registers are not. Compilers
# make 2^31 by the sign bit's (fneg), in integers. Of AVX10.2 the final names and those of early assemblers are here.
_X86_FLOAT = re.compile(
    r"v?(?:(?:add|sub|mul|div|min|max|minmax|sqrt|rcp(?:14|28)?|rsqrt(?:14|28)?|round|rndscale|getexp|getmant|scalef"
    r"|fixupimm|range|reduce|cmp\w*|hadd|hsub|addsub|dp|dpph|fpclass|frcz|exp2"
    r"|(?:4?fn?|fc|fn)?(?:madd|msub|maddsub|msubadd|mul)c?\d*)(?:ne)?(?:p?[ps][sdh]|p?bf16)[xyz]?"
    r"|u?com[ix]?s[sdh]|u?com[ix]?s?bf16|cvt\w+|bcstne\w+|dpbf16ps)"
    r"|t[a-z0-9]+ps|tcvt\w+|pf\w+|pi2f[dw]|f\w+"
)
_ARM_FLOAT = re.compile(r"f(?!(?:mov|neg|abs)$)\w+|[su]cvtf|bf(?!(?:i|m|xil|c)$)\w+")
_X86_PREFIXES = {
    "lock",
    "rep",
    "repz",
    "repnz",
    "notrack",
    "bnd",
    "data16",
    "cs",
    "ds",
    "es",
    "fs",
    "gs",
    "ss",
    "addr32",
}

_LINE = re.compile(r"^ *([0-9a-f]+):\t(.*)$")
_FRAME = re.compile(r" FDE .* pc=([0-9a-f]+)\.\.([0-9a-f]+)")
_POINTER = re.compile(r"^([0-9a-f]+) R_\w+_RELATIVE +\*ABS\*\+0x([0-9a-f]+)$", re.MULTILINE)
_TARGET = re.compile(r"\b([0-9a-f]+) <([^>]*)>")


# Objects that are the fp32 profile's, which is floating point by definition, and its bindings.
FLOAT_OBJECTS = re.compile(
    r"tier_\w+_fp32|run_fp32|(scan|selective|recurrence|trapezoidal|delta)_block_fp32|bind_fp32|solve|bind_solve"
)
# Functions of any object that are the fp32 profile's: its run of an operation (native/ops), and templates for floats.
FLOAT_RUNS = re.compile(r"\bintact::Fp32Run\b|<float>\(")
# Functions of other objects that may compute in floating point: by demangled name, with the reason.
FLOAT_FUNCTIONS = {
    "limits": {
        r"measure_limits\(": "bytes and products a second, which `intact doctor` prints: no token depends on them"
    },
    "pool": {r"Pool::adapt_patience\(": "nanoseconds that threads wait before they sleep"},
    "bind_model": {
        r"check_finite\(": "refuses NaN and infinity in weights of the fp32 profile",
        r"class_<intact::Op>::def_rw<intact::Op, float>": "a number of the fp32 profile that Python sets",
        r"nanobind::": "float members of the fp32 profile, to Python and back",
    },
}

_FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")
_RELOCATION = re.compile(r"\bR_[A-Z0-9_]+\s+([A-Za-z_]\w*)")
_SOFT_FLOAT = re.compile(
    r"__(?:add|sub|mul|div|neg|cmp|eq|ne|ge|gt|le|lt|unord|fix|float|extend|trunc|pow)\w*[bhsdxt][fc]\w*"
)
_IN_TWO_LIBRARIES = {"copysign", "frexp", "ldexp", "modf", "scalbn", "strtod", "strtof", "strtold"}


_WRITES_NOTHING = re.compile(r"st|b|cb|tb|cmp|cmn|ccm|tst|ret|prf|fcmp|nop")
"""Instructions of aarch64 that leave their first register as it is."""


def is_float(mnemonic: str, machine: str) -> bool:
    """Whether an instruction computes, compares or converts floating-point numbers; machine is x86_64 or aarch64."""
    return (_X86_FLOAT if machine == "x86_64" else _ARM_FLOAT).fullmatch(mnemonic) is not None


@dataclass(frozen=True)
class Instruction:
    address: int
    mnemonic: str
    operands: str


class Disassembly:
    """All code of a library."""

    def __init__(self, library: Path, machine: str, objdump: str = "objdump") -> None:
        self.machine = machine
        frames = _run(objdump, "--dwarf=frames", library)
        self.ranges = sorted({(int(a, 16), int(b, 16)) for a, b in _FRAME.findall(frames)})
        self._starts = [start for start, _ in self.ranges]
        self._entries = set(self._starts)
        self._pointers = {int(at, 16): int(to, 16) for at, to in _POINTER.findall(_run(objdump, "-R", library))}
        text = _run(objdump, "-d", "-w", "--no-show-raw-insn", "-j", ".text", library)
        self.instructions = [_parse(*match.groups()) for line in text.splitlines() if (match := _LINE.match(line))]
        self._addresses = [instruction.address for instruction in self.instructions]

    def function(self, address: int) -> tuple[int, int] | None:
        """The function that holds an address, as a range of addresses."""
        at = bisect.bisect_right(self._starts, address) - 1
        return self.ranges[at] if at >= 0 and address < self.ranges[at][1] else None

    def code(self, function: tuple[int, int]) -> list[Instruction]:
        begin, end = (bisect.bisect_left(self._addresses, address) for address in function)
        return self.instructions[begin:end]

    def reach(self, entries: Iterable[int]) -> tuple[list[Instruction], set[str]]:
        """All instructions that the functions at `entries` can come to, and the names of the functions outside."""
        pending, seen, outside = list(entries), set(), set()
        reached: list[Instruction] = []
        while pending:
            function = self.function(pending.pop())
            if function is None or function in seen:
                continue
            seen.add(function)
            code = self.code(function)
            reached += code
            for address, name, jump in self._references(code):
                if name.endswith("@plt") and jump:
                    outside.add(name.split("@")[0])
                elif function[0] <= address < function[1]:
                    continue
                elif jump or address in self._entries:
                    pending.append(address)
                pending += self._table(address)
        return reached, outside

    @functools.cached_property
    def _objects(self) -> list[int]:
        """All addresses that code takes or data hold: where an object begins, the one before it has ended."""
        taken = {at for function in self.ranges for at, _, jump in self._references(self.code(function)) if not jump}
        return sorted(taken | set(self._pointers.values()))

    def _table(self, address: int) -> list[int]:
        """The functions that a table of pointers at an address names; it may have a gap."""
        if address not in self._pointers and address + 8 not in self._pointers:
            return []
        following = bisect.bisect_right(self._objects, address)
        end = self._objects[following] if following < len(self._objects) else address + 8
        functions = []
        while address < end and (address in self._pointers or address + 8 in self._pointers):
            if self._pointers.get(address) in self._entries:
                functions.append(self._pointers[address])
            address += 8
        return functions

    def _references(self, code: list[Instruction]) -> Iterable[tuple[int, str, bool]]:
        """Addresses that instructions name: (address, symbol, whether control goes there)."""
        pages: dict[str, int] = {}
        for instruction in code:
            for text, name in _TARGET.findall(instruction.operands):
                jump = "#" not in instruction.operands and instruction.mnemonic not in ("adrp", "adr")
                yield int(text, 16), name, jump
                if instruction.mnemonic == "adrp":
                    pages[instruction.operands.split(",")[0]] = int(text, 16)
            if instruction.mnemonic == "add" and self.machine == "aarch64":
                parts = instruction.operands.split(", ")
                if len(parts) == 3 and parts[1] in pages and parts[2].startswith("#"):
                    yield pages[parts[1]] + int(parts[2][1:], 0), "", False
            if instruction.mnemonic != "adrp" and not _WRITES_NOTHING.match(instruction.mnemonic):
                pages.pop(instruction.operands.split(",")[0].replace("w", "x"), None)  # it holds something else now


@dataclass(frozen=True)
class Function:
    """A function of an object file: its mnemonics, and the names of what it refers to."""

    name: str
    mnemonics: frozenset[str]
    references: frozenset[str]


def functions(path: Path, objdump: str = "objdump") -> Iterator[Function]:
    """Yield all functions of an object file, of every section."""
    name, mnemonics, references = "", set[str](), set[str]()
    for line in _run(objdump, "-d", "-r", "-w", "-C", "--no-show-raw-insn", path).splitlines():
        if begin := _FUNCTION.match(line):
            yield Function(name, frozenset(mnemonics), frozenset(references))
            name, mnemonics, references = begin[1], set(), set()
        elif match := _LINE.match(line):
            mnemonics.add(_parse(*match.groups()).mnemonic)
            references |= set(_RELOCATION.findall(match[2]))  # on the same line, by -w
    yield Function(name, frozenset(mnemonics), frozenset(references))


def floats_of_object(path: Path, unit: str, machine: str, objdump: str = "objdump") -> dict[str, set[str]]:
    """Return what each function of an object does in floating point, except those that may: nothing, if all is well.

    An instruction that objdump cannot decode counts too, as it may be anything; so do functions of libm, and those that
    a compiler calls where a machine has no instruction.
    """
    allowed = [FLOAT_RUNS, *(re.compile(pattern) for pattern in FLOAT_FUNCTIONS.get(unit, {}))]
    found: dict[str, set[str]] = {}
    for function in functions(path, objdump):
        bad = {m for m in function.mnemonics if is_float(m, machine) or m.startswith((".", "(bad)"))}
        bad |= {name for name in function.references if _is_float_function(name)}
        if bad and not any(pattern.search(function.name) for pattern in allowed):
            found.setdefault(function.name, set()).update(bad)
    return found


@functools.cache
def _is_float_function(name: str) -> bool:
    """If true, a function computes in floating point: one of libm, or of a compiler's run-time library."""
    if name in _IN_TWO_LIBRARIES or _SOFT_FLOAT.fullmatch(name):
        return True
    mathematics, rest = _libraries()
    return hasattr(mathematics, name) and not hasattr(rest, name)


@functools.cache
def _libraries() -> tuple[ctypes.CDLL, ctypes.CDLL]:
    return ctypes.CDLL("libm.so.6"), ctypes.CDLL("libc.so.6")


def _run(objdump: str, *arguments: str | Path) -> str:
    return subprocess.run([objdump, *arguments], capture_output=True, text=True, check=True).stdout


def _parse(address: str, text: str) -> Instruction:
    words = text.split(None, 1)
    while words and words[0] in _X86_PREFIXES and len(words) > 1:
        words = words[1].split(None, 1)
    return Instruction(int(address, 16), words[0] if words else "", words[1] if len(words) > 1 else "")
