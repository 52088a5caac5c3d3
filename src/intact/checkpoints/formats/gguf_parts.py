"""GGUF models split over several files: `NAME-00001-of-00003.gguf` and so on, as written by llama.cpp.

Each part is a GGUF file. The first part has all metadata; tensors are spread over the parts. The result equals the file
that `llama-gguf-split --merge` would write: the same metadata and tensors, hence the same digests.
"""

import re
from pathlib import Path
from typing import Final

from intact._base.errors import FormatError
from intact.checkpoints.formats.gguf import TENSOR_COST, Contents, SplitPart, parse_gguf
from intact.checkpoints.formats.tensor import HEADER_MEMORY, map_file, quote_name

_PART: Final = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


def part_paths(path: Path) -> list[Path]:
    """Return the paths of all parts of a split model, even missing ones, given one of them; other paths unchanged."""
    found = _PART.fullmatch(path.name)
    if found is None or not 1 <= int(found["number"]) <= int(found["count"]):
        return [path]
    count = int(found["count"])
    return [path.with_name(f"{found['stem']}-{number:05d}-of-{count:05d}.gguf") for number in range(1, count + 1)]


def read_parts(first: Path) -> Contents:
    """Map all parts of a split model and parse their headers, given the path of the first part or of a whole file.

    Raises
    ------
    FormatError
        If a part is missing or unreadable, is not the part indicated by its name, or repeats a tensor of an earlier
        part.
    """
    paths = part_paths(first)
    if first != paths[0]:
        raise FormatError(
            f"{first} is one of {len(paths)} parts; expected the first part, {paths[0].name}, or their folder"
        )
    contents = parse_gguf(map_file(first), first, SplitPart(0, len(paths)))
    for number, path in enumerate(paths[1:], 1):
        memory = HEADER_MEMORY - TENSOR_COST * len(contents.tensors)
        for name, tensor in parse_gguf(map_file(path), path, SplitPart(number, len(paths)), memory).tensors.items():
            if name in contents.tensors:
                raise FormatError(f"{path}: tensor {quote_name(name)} also occurs in an earlier part; expected it once")
            contents.tensors[name] = tensor
    total = contents.metadata.get("split.tensors.count", len(contents.tensors))
    if total != len(contents.tensors):
        raise FormatError(
            f"{first}: its parts have {len(contents.tensors)} tensors in total, "
            f"but split.tensors.count is {total!r:.80}"
        )
    return contents
