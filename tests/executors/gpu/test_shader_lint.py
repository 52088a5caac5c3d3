"""Rules of the shaders' texts that keep drivers' traps away (docs/gpu.md); no device is needed."""

import re

import pytest

from intact.executors.gpu.shaders import shader_file, shader_names

CONSTANTS = {"BITS", "BLOCK", "LANES", "T", "TABLE", "MINIMA"}
"""Names whose values a pipeline fixes, so that all threads take the same way."""
FORBIDDEN = {
    r"\bf16\b": "16-bit floats, which some drivers compute wrongly",
    r"\bsubgroup": "subgroup operations, whose size drivers choose",
    r"\b(enable|requires)\b": "extensions of the language",
    r"-\s*2147483648|0x80000000i|-0x80000000": "-2^31, which does not compile for Metal",
    r"\b(exp2?|log2?|pow|sqrt|inverseSqrt|sin|cos|tanh|fma)\s*\(": "functions of floats, whose results devices choose",
}


def code(name: str) -> str:
    """Return a shader's text without comments."""
    return re.sub(r"//[^\n]*", "", shader_file(name))


def floats_outside_dot(text: str) -> list[str]:
    """Return the lines with floats outside the function that multiplies codes, where all sums are below 2^24."""
    inside = re.sub(r"^fn dot4\(.*?^\}", "", text, flags=re.DOTALL | re.MULTILINE)
    return [line.strip() for line in inside.split("\n") if re.search(r"\b(f32|vec[234]f|unpack4x8\w+norm)\b", line)]


def conditions_around_barriers(text: str) -> list[str]:
    """Return the conditions of `if` blocks that contain a barrier."""
    found, open_blocks = [], []
    for match in re.finditer(r"[{}]|\bworkgroupBarrier\(\)", text):
        if match[0] == "{":
            head = re.split(r"[;{}]", text[: match.start()])[-1].strip()
            open_blocks.append(head)
        elif match[0] == "}":
            open_blocks.pop()
        else:
            found += [head for head in open_blocks if head.startswith(("if", "else", "while", "switch"))]
    return found


@pytest.mark.parametrize("name", shader_names())
def test_shaders_keep_the_rules(name):
    text = code(name)
    for pattern, what in FORBIDDEN.items():
        assert not re.search(pattern, text), f"{name}.wgsl has {what}"
    assert floats_outside_dot(text) == []


@pytest.mark.parametrize("name", shader_names())
def test_every_variable_of_a_function_has_a_first_value(name):
    assert re.findall(r"\bvar (\w+)(?:\s*:[^=;]*)?;", code(name)) == []


@pytest.mark.parametrize("name", shader_names())
def test_constant_shifts_are_below_32(name):
    amounts = re.findall(r"(?:<<|>>)=?\s*(\d+)u?", code(name))
    assert [amount for amount in amounts if int(amount) >= 32] == []


@pytest.mark.parametrize("name", shader_names())
def test_barriers_are_reached_by_all_threads(name):
    for condition in conditions_around_barriers(code(name)):
        names = set(re.findall(r"[A-Za-z_]\w*", condition)) - {"if", "else", "u"}
        assert names <= CONSTANTS, f"{name}.wgsl: a barrier depends on {condition!r}"


@pytest.mark.parametrize("name", shader_names())
def test_includes_are_files_of_the_package(name):
    assert set(re.findall(r"// include (\w+)\.wgsl", shader_file(name))) <= {*shader_names()} - {name}


def test_the_rules_notice_what_they_forbid():
    assert conditions_around_barriers("fn f() { if (i < k) { workgroupBarrier(); } }") == ["if (i < k)"]
    assert conditions_around_barriers("fn f() { for (;;) { workgroupBarrier(); } if (x) { y(); } }") == []
    assert floats_outside_dot("fn g() {\n    let x = f32(1);\n}\n") == ["let x = f32(1);"]
