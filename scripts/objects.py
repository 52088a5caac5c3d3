#!/usr/bin/env python3
"""Read a compiled Python module of Linux, macOS or Windows, and say what is wrong with it.

    scripts/objects.py object FILE      prints its format, machine, libraries, imports and exports as JSON
    scripts/objects.py abi 3.12         prints the names of the stable ABI of a Python, with their kinds

These two need lief and abi3info (`scripts/modules.py` makes an environment with them); `problems` needs nothing.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

OF_LINKERS = ("___dso_handle", "__mh_dylib_header")
"""Symbols that linkers define in each library of macOS."""


class Rules(NamedTuple):
    """What an object must be.

    Attributes
    ----------
    format, machine : str
        As `read_object` names them.
    libraries : tuple of str
        Regular expressions of the libraries that it may load, in any case.
    export : str
        The only symbol that it exports.
    prefix : str
        What the system puts before each symbol of C.
    """

    format: str
    machine: str
    libraries: tuple[str, ...]
    export: str
    prefix: str = ""


def problems(facts: Mapping[str, Any], rules: Rules, stable: Collection[str]) -> list[str]:
    """Return what contradicts the rules, one line each; `stable` are the names that it may use of Python."""
    found = [
        f"the {name} is {facts[name]}, expected {wanted}"
        for name, wanted in (("format", rules.format), ("machine", rules.machine))
        if facts[name] != wanted
    ]
    allowed = re.compile("|".join(rules.libraries), re.IGNORECASE)
    found += [f"it loads {library}" for library in facts["libraries"] if not allowed.fullmatch(library)]
    names = {name: name.removeprefix(rules.prefix) for name in facts["python"]}
    found += [f"it uses {name}, which is not in the stable ABI" for name in sorted(names) if names[name] not in stable]
    if not names:
        found.append("it uses nothing of Python")
    if facts["exports"] != [rules.export]:
        found.append(f"it exports {', '.join(facts['exports']) or 'nothing'}, expected {rules.export}")
    found += [f"{name} has no library" for name in facts["unbound"]]
    if not facts["signed"]:
        found.append("it has no signature, without which the system does not load it")
    return found


def read_object(path: Path) -> dict[str, Any]:
    """Return the facts about an object; raise if it is in none of the formats."""
    import lief

    binary = lief.parse(path)
    if isinstance(binary, lief.PE.Binary):
        return read_pe(binary, lief)
    if isinstance(binary, lief.MachO.Binary):
        return read_macho(binary, lief)
    raise SystemExit(f"objects: {path} is neither PE nor Mach-O")


def read_pe(binary: Any, lief: Any) -> dict[str, Any]:
    """Return the facts about a DLL of Windows. It needs no signature."""
    dll = binary.header.has_characteristic(lief.PE.Header.CHARACTERISTICS.DLL)
    machines = {lief.PE.Header.MACHINE_TYPES.AMD64: "x86-64", lief.PE.Header.MACHINE_TYPES.ARM64: "arm64"}
    imports = {one.name: sorted(entry.name for entry in one.entries) for one in binary.imports}
    exports = binary.get_export()
    return {
        "format": "PE DLL" if dll else "PE program",
        "machine": machines.get(binary.header.machine, str(binary.header.machine)),
        "libraries": sorted(imports),
        "python": sorted(
            name for library, names in imports.items() if library.lower().startswith("python") for name in names
        ),
        "exports": sorted(entry.name for entry in exports.entries) if exports else [],
        "unbound": [],
        "signed": True,
    }


def read_macho(binary: Any, lief: Any) -> dict[str, Any]:
    """Return the facts about a library of macOS; symbols that are looked up when it is loaded should be Python's."""
    types = {lief.MachO.Header.FILE_TYPE.BUNDLE: "Mach-O bundle", lief.MachO.Header.FILE_TYPE.DYLIB: "Mach-O library"}
    machines = {lief.MachO.Header.CPU_TYPE.ARM64: "arm64", lief.MachO.Header.CPU_TYPE.X86_64: "x86-64"}
    bound = {one.symbol.name: one.library.name if one.has_library else "" for one in binary.bindings if one.has_symbol}
    own = lief.MachO.LoadCommand.TYPE.ID_DYLIB
    undefined = {symbol.name for symbol in binary.imported_symbols}
    python = {name for name in undefined if re.match("__?Py", name)}
    return {
        "format": types.get(binary.header.file_type, str(binary.header.file_type)),
        "machine": machines.get(binary.header.cpu_type, str(binary.header.cpu_type)),
        "libraries": sorted(one.name for one in binary.libraries if one.command != own),
        "python": sorted(python),
        "exports": sorted(one.name for one in binary.exported_symbols if one.name not in OF_LINKERS),
        "unbound": sorted(name for name in undefined - python if name in bound and not bound[name]),
        "signed": binary.has_code_signature,
    }


def stable_abi(version: str) -> dict[str, str]:
    """Return the names in the stable ABI of a version of Python on all systems, with their kinds."""
    import abi3info

    newest = tuple(map(int, version.split(".")))
    found = {}
    for kind, names in (("function", abi3info.FUNCTIONS), ("data", abi3info.DATAS)):
        for symbol, about in names.items():
            if (about.added.major, about.added.minor) <= newest:
                found[symbol.name] = kind
    return found


if __name__ == "__main__":
    what, argument = sys.argv[1:]
    print(json.dumps(stable_abi(argument) if what == "abi" else read_object(Path(argument))))
