"""The shaders' texts: includes, constants, the layout of parameters, and bindings, all read from the WGSL itself.

Shaders come from this package alone. A line ``// include NAME.wgsl`` at the start of a file puts that file before it,
once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

LANES: Final = 64
"""Threads of a workgroup."""
_INCLUDE: Final = re.compile(r"^// include (\w+)\.wgsl$", re.MULTILINE)
_STRUCT: Final = re.compile(r"^struct (\w+) \{(.*?)\}", re.MULTILINE | re.DOTALL)
_FIELD: Final = re.compile(r"(\w+)\s*:\s*(array<\w+, \d+>|\w+)(?:,|\s|$)")
_ARRAY: Final = re.compile(r"array<(\w+), (\d+)>")
_BINDING: Final = re.compile(r"@binding\((\d+)\) var<storage, (read|read_write)>")


class Shader(NamedTuple):
    """A shader without its constants.

    Attributes
    ----------
    text : str
        WGSL.
    structs : mapping
        Fields of each structure, in order: name and type.
    writable : tuple of bool
        For each binding, true if the shader writes to it.
    """

    text: str
    structs: Mapping[str, tuple[tuple[str, str], ...]]
    writable: tuple[bool, ...]


def shader_names() -> list[str]:
    """Return the names of all files, shaders and included parts."""
    return sorted(file.name.removesuffix(".wgsl") for file in _folder() if file.name.endswith(".wgsl"))


def shader_file(name: str) -> str:
    """Return the text of one file."""
    return (files("intact.executors.gpu") / "shaders" / f"{name}.wgsl").read_text(encoding="utf-8")


def shader_digests() -> dict[str, str]:
    """Return the SHA-256 of each file."""
    return {name: hashlib.sha256(shader_file(name).encode()).hexdigest() for name in shader_names()}


def shaders_digest() -> str:
    """Return the SHA-256 over all files: lines with a name, a space, the file's SHA-256 and a line feed."""
    lines = "".join(f"{name} {digest}\n" for name, digest in shader_digests().items())
    return hashlib.sha256(lines.encode()).hexdigest()


def _folder() -> Iterator[Any]:
    return (files("intact.executors.gpu") / "shaders").iterdir()


def _parts(name: str, seen: list[str]) -> list[str]:
    if name not in seen:
        for included in _INCLUDE.findall(shader_file(name)):
            _parts(included, seen)
        seen.append(name)
    return seen


@cache
def read_shader(name: str) -> Shader:
    """Read a shader with everything that it includes."""
    text = "\n".join(shader_file(part) for part in _parts(name, []))
    code = re.sub(r"//.*", "", text)
    structs = {struct: tuple(_FIELD.findall(body)) for struct, body in _STRUCT.findall(code)}
    bindings = {int(number): access == "read_write" for number, access in _BINDING.findall(code)}
    return Shader(text, structs, tuple(bindings[i] for i in range(len(bindings))))


def with_constants(shader: Shader, constants: Sequence[tuple[str, int | bool]]) -> str:
    """Return the text of a shader after its constants."""
    return (
        "".join(f"const {name} = {_literal(value)};\n" for name, value in (("LANES", LANES), *constants)) + shader.text
    )


def _literal(value: int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}u"


def pack_parameters(shader: Shader, numbers: Mapping[str, Any]) -> list[int]:
    """Return a dispatch's parameters as 32-bit words, in the order of the shader's `Parameters`.

    Raises
    ------
    ValueError
        If a field has no value, a value has no field, or a list is too long.
    """
    return list(_words(shader, "Parameters", numbers))


def _words(shader: Shader, kind: str, value: Any) -> Iterator[int]:
    if kind in ("u32", "i32"):
        yield int(value) & 0xFFFFFFFF
    elif array := _ARRAY.fullmatch(kind):
        element, count = array[1], int(array[2])
        if len(value) > count:
            raise ValueError(f"{len(value)} entries for an array of {count}")
        for entry in value:
            yield from _words(shader, element, entry)
        yield from [0] * ((count - len(value)) * _size(shader, element))
    else:
        fields = shader.structs[kind]
        if value.keys() != {name for name, _ in fields}:
            raise ValueError(f"{kind} has the fields {[name for name, _ in fields]}, got {list(value)}")
        for name, of in fields:
            yield from _words(shader, of, value[name])


def _size(shader: Shader, kind: str) -> int:
    if kind in ("u32", "i32"):
        return 1
    return sum(_size(shader, of) for _, of in shader.structs[kind])
