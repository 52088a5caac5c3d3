"""Rules for the text of shaders; each avoids a known fault of drivers or compilers. No device is needed."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import intact
from intact.executors.gpu.shaders import shader_file, shader_names

NAMES = shader_names()
BARRIERS = {"workgroupBarrier", "storageBarrier", "textureBarrier", "workgroupUniformLoad"}
SAME_FOR_ALL = re.compile(r"\b(?:g\.[xyz]|(?:par|batch)(?:\.\w+)+|p\.(?![xyzw]\b)\w+)")
"""What all threads of a workgroup share: its number, and fields of the parameters and of the step."""

SHIFTS = {
    "attend": {"(k & 31u)"},
    "codes": {"(4u * (g & 1u))", "(4u * (o & 7u))", "(2u * (g & 3u))"},
    "functions": {"s", "n", "(max(n, 1u) - 1u)"},
    "keep_head": {"key_bit", "value_bit"},
    "norm_row": {"p.source_wide", "p.place_wide"},
    "products": {"(8u * k)", "BITS"},
    "quantize_row": {"u32(max(-e, 0))", "(8u * k)"},
    "words": {"(s - 32u)", "s", "(32u - s)", "(s - 1u)", "(log2 - 32u)"},
}
"""Shift amounts that are no literals, by file: each was checked to be below 32."""


class Block(NamedTuple):
    """A block of code: the text before its brace, its place, and true if no block surrounds it."""

    header: str
    start: int
    end: int
    is_outermost: bool


def code_of(text):
    return re.sub(r"//.*", "", text)


def blocks(code: str) -> Iterator[Block]:
    stack: list[tuple[str, int]] = []
    begin = parentheses = 0
    for at, character in enumerate(code):
        parentheses += (character == "(") - (character == ")")
        if character == "{":
            stack.append((code[begin:at].strip(), at))
        if character == "}":
            header, start = stack.pop()
            yield Block(header, start, at, not stack)
        if character in "{}" or (character == ";" and not parentheses):
            begin = at + 1


def amounts(code):
    """Yield the right operand of each shift."""
    code = re.sub(r"\b(?:array|vec\d|atomic)<[\w<>, *]*>(?= *[,;)({=])", "T", code)
    for found in re.finditer(r"(?:<<|>>)=?\s*", code):
        yield operand(code[found.end() :])


def operand(text):
    """Return the name, number, call or parentheses at the start of a text."""
    end = re.match(r"[\w.]*", text).end()
    depth = 0
    while text[end : end + 1] == "(" or depth:
        depth += (text[end] == "(") - (text[end] == ")")
        end += 1
    return text[:end]


def functions(code):
    return {
        match[1]: (block, code[block.start : block.end])
        for block in blocks(code)
        if block.is_outermost and (match := re.search(r"\bfn (\w+)", block.header))
    }


def synchronizing(codes):
    """Return the names of functions that reach a barrier, and the barriers."""
    found = set(BARRIERS)
    bodies = [(name, body) for code in codes for name, (_, body) in functions(code).items() if name != "main"]
    while more := {name for name, body in bodies if name not in found and found & set(re.findall(r"\b(\w+)\(", body))}:
        found |= more
    return found


def is_uniform(header):
    """Return true if a header depends on constants, its own counter and values that all threads share."""
    counters = set(re.findall(r"\bvar (\w+)", header))
    words = set(re.findall(r"(?<![\w.])[A-Za-z_]\w*", SAME_FOR_ALL.sub("0", header))) - {"if", "else", "for", "var"}
    return all(word in counters or re.fullmatch(r"[A-Z][A-Z0-9_]*", word) for word in words)


def faults(name, text, barriers):
    """Yield the faults of a file."""
    code = code_of(text)
    for declaration in re.findall(r"\bvar\s+\w[^;]*;", code):
        if "=" not in declaration.split(";")[0]:
            yield f"{declaration} has no initial value"
    for word in re.findall(r"\b(f16|vec\dh|mat\dx\dh|subgroup\w*|quad[A-Z]\w*|enable|requires|override)\b", code):
        yield f"uses {word}"
    without_dot = re.sub(r"fn dot4\(.*?\n\}", "", code, flags=re.DOTALL) if name == "codes" else code
    for word in re.findall(r"\b(f32|vec\df|mat\dx\df?|\d+\.\d*f?|\d+f)\b", without_dot):
        yield f"uses floats: {word}"
    if re.search(r"2147483648|0x80000000(?!u)|-\s*TOP\s*-", code):
        yield "writes -2^31"
    for amount in amounts(code):
        literal = re.fullmatch(r"(\d+)u?", amount)
        if (int(literal[1]) >= 32) if literal else (amount not in SHIFTS.get(name, set())):
            yield f"shifts by {amount}"
    yield from divergent_barriers(code, barriers)


def divergent_barriers(code, barriers):
    """Yield calls that reach a barrier in a block, or after a return from one, that only some threads may enter."""
    for function, body in functions(code).values():
        inner = [block for block in blocks(code) if function.start < block.start < function.end]
        divergent = [block for block in inner if not is_uniform(block.header)]
        left = [m.start() for m in re.finditer(r"\breturn\b", body)]
        for call in re.finditer(r"\b(\w+)\(", body):
            at = function.start + call.start()
            if call[1] not in barriers:
                continue
            for block in divergent:
                if block.start < at < block.end:
                    yield f"{call[1]} under {block.header}"
                elif block.end < at and any(block.start < function.start + place < block.end for place in left):
                    yield f"{call[1]} after a return under {block.header}"


BARRIER_NAMES = synchronizing([code_of(shader_file(name)) for name in NAMES])


@pytest.mark.parametrize("name", NAMES)
def test_shaders_keep_the_rules(name):
    assert list(faults(name, shader_file(name), BARRIER_NAMES)) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("fn f() { var a: u32; }", "no initial value"),
        ("enable f16;", "uses enable"),
        ("fn f(a: f32) { }", "floats: f32"),
        ("fn f() { let a = vec4f(); }", "floats: vec4f"),
        ("fn f() { let a = 1.0; }", "floats: 1.0"),
        ("fn f() { let a = subgroupAdd(1u); }", "subgroupAdd"),
        ("fn f() { let a = min(1, -2147483648); }", "-2\\^31"),
        ("fn f() { let a = 1u << 32u; }", "shifts by 32u"),
        ("fn f(b: u32) { let a = 1u >> (b + 1u); }", r"shifts by \(b \+ 1u\)"),
        ("fn f(b: u32) { if (b == 0u) { workgroupBarrier(); } }", r"workgroupBarrier under if \(b == 0u\)"),
        ("fn f(b: u32) { for (var k = 0u; k < b; k++) { largest(k, v); } }", "largest under for"),
        (
            "fn f(b: u32) { if (b == 0u) { return; } workgroupBarrier(); }",
            r"workgroupBarrier after a return under if \(b == 0u\)",
        ),
    ],
)
def test_each_rule_finds_its_fault(text, fault):
    found = list(faults("some", text, BARRIER_NAMES))
    assert any(re.search(fault, one) for one in found), found


def test_barriers_of_called_functions_count():
    assert {"largest", "sum_of", "largest_i32", "quantize_row", "product_tile"} <= BARRIER_NAMES
    assert not {"put", "element", "mul"} & BARRIER_NAMES


def test_only_the_device_compiles_shaders_and_only_from_the_package():
    package = Path(intact.__file__).parent
    using = {
        path.relative_to(package).as_posix(): text
        for path in package.rglob("*.py")
        if "create_shader_module" in (text := path.read_text(encoding="utf-8"))
    }
    assert set(using) == {"executors/gpu/device.py"}
    [call] = re.findall(r"create_shader_module\(.*\)", using["executors/gpu/device.py"])
    assert "code=with_constants(shader, constants)" in call
    folder = package / "executors" / "gpu" / "shaders"
    assert sorted(path.stem for path in folder.iterdir()) == NAMES
