"""Parse mutated GGUF files under a limit of memory, and print what happened as JSON.

    PYTHONPATH=tests:src python -m formats.fuzz_gguf COUNT SEED

A mutation changes the file by its pieces (counts, lengths, types, strings, data), or bluntly (bits, truncation). Each
case must end in `FormatError` or in contents whose tensors lie apart, inside the file, and are as long as their shape
says.
The address space is limited to 100 MB more than before the first case, so that no case can take more.
"""

import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from intact._base.errors import FormatError
from intact.checkpoints.formats.gguf import Contents, parse_gguf, read_gguf
from intact.checkpoints.formats.tensor import byte_length
from support.gguf_writer import gguf_pieces

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]


MEMORY = 100_000_000
NUMBERS = [0, 1, 2, 3, 7, 8, 9, 12, 13, 31, 32, 33, 255, 1 << 16, (1 << 20) + 1, 1 << 31, (1 << 32) - 1, 1 << 32]
NUMBERS += [1 << 40, (1 << 61) + 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 32, (1 << 64) - 1]
STRINGS = [b"", b"\xff\xfe", b"\x00", b"a" * 70000, b"general.alignment", b"token_embd.weight", "日本語".encode() * 9]


def seed_pieces(version: int) -> list[bytes]:
    """A small file with one of everything."""
    words = ["<s>", "</s>", "Ġthe", "ing", "日本", "é", " ", "\n", *map(chr, range(33, 60))]
    metadata = {
        "general.architecture": "llama",
        "general.alignment": 32,
        "llama.block_count": 1,
        "llama.rope.freq_base": 10000.0,
        "llama.context_length": np.uint64(2048),
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.tokens": words,
        "tokenizer.ggml.merges": [f"{a} {b}" for a, b in pairwise(words)],
        "tokenizer.ggml.scores": np.linspace(-1, 0, len(words), dtype=np.float32),
        "tokenizer.ggml.token_type": np.ones(len(words), np.int32),
        "tokenizer.chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}",
        "bytes": np.arange(9, dtype=np.uint8),
        "flags": np.array([True, False, True]),
        "wide": np.array([1, -2], np.int64),
        "nested": [[["a", "b"], ["c"]], [[], ["d"]]],
    }
    generator = np.random.default_rng(0)
    shapes = {
        "token_embd.weight": ("Q8_0", (4, 64)),
        "output_norm.weight": ("F32", (64,)),
        "blk.0.attn_q.weight": ("Q4_1", (2, 64)),
        "blk.0.ffn_up.weight": ("Q6_K", (1, 256)),
        "blk.0.ffn_gate.weight": ("F16", (3, 5)),
        "blk.0.ffn_down.weight": ("MXFP4", (2, 2, 32)),
    }
    tensors = {
        name: (kind, shape, generator.bytes(byte_length(kind, shape) or 0)) for name, (kind, shape) in shapes.items()
    }
    return gguf_pieces(metadata, tensors, version)


def mutate(pieces: Sequence[bytes], draw: random.Random) -> bytes:
    """Change one to three things."""
    pieces = list(pieces)
    for _ in range(draw.choice((1, 1, 2, 3))):
        at = draw.randrange(len(pieces))
        piece = pieces[at]
        number = len(piece) in (4, 8)
        match draw.randrange(9):
            case 0 | 1 | 2 if number:
                value = int.from_bytes(piece, "little")
                value = draw.choice([*NUMBERS, value + 1, value - 1, 2 * value, draw.randrange(50), -value])
                pieces[at] = (value % (1 << 8 * len(piece))).to_bytes(len(piece), "little")
            case 3:
                other = draw.randrange(len(pieces))
                pieces[at], pieces[other] = pieces[other], piece
            case 4:
                first = draw.randrange(len(pieces))
                pieces[at:at] = pieces[first : first + draw.randrange(1, 12)]
            case 5:
                del pieces[at : at + draw.choice((1, 1, 2, 6))]
                pieces = pieces or [b""]
            case 6:
                text = draw.choice(STRINGS)
                pieces[at] = text
                if at and len(pieces[at - 1]) == 8 and draw.random() < 0.8:
                    pieces[at - 1] = len(text).to_bytes(8, "little")
            case 7:
                data = bytearray(b"".join(pieces))
                pieces = [bytes(data[: draw.randrange(len(data) + 1)])]
            case _:
                data = bytearray(piece)
                if data:
                    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
                pieces[at] = bytes(data)
    return b"".join(pieces)


def check(contents: Contents, size: int) -> None:
    """The promises that a parsed file keeps."""
    spans = []
    for name, tensor in contents.tensors.items():
        assert tensor.name == name
        assert tensor.data.size == byte_length(tensor.kind, tensor.shape) > 0  # type: ignore[operator]
        assert not tensor.data.flags.writeable
        begin = tensor.data.__array_interface__["data"][0]
        spans.append((begin, begin + tensor.data.size))
    spans.sort()
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))
    assert not spans or spans[-1][1] - spans[0][0] <= size


def check_message(message: str, path: Path) -> None:
    """The promises that an error keeps."""
    assert message.startswith(f"{path}: "), message
    assert "expected" in message, message
    assert len(message) < 1000, message


def limit_memory() -> None:
    """Limit the address space, where that can be done."""
    status = Path("/proc/self/statm")
    if resource is not None and status.exists():
        limit = int(status.read_text().split()[0]) * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def peak_memory() -> int:
    """Most bytes that were resident at a time."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 if resource else 0


def parse(data: bytes, path: Path, on_disk: bool) -> bool:
    """Parse one case, check what comes of it, and say whether it was accepted."""
    try:
        if on_disk:
            path.write_bytes(data)
            contents = read_gguf(path)
        else:
            contents = parse_gguf(data, path)
        check(contents, len(data))
    except FormatError as error:
        check_message(str(error), path)
        return False
    return True


def main(count: int, seed: int) -> None:
    draw = random.Random(seed)
    seeds = [seed_pieces(version) for version in (2, 3)]
    for pieces in seeds:
        data = b"".join(pieces)
        check(parse_gguf(data, Path("seed")), len(data))
    limit_memory()
    before = peak_memory()
    accepted = 0
    slowest = 0.0
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for case in range(count):
            data = mutate(draw.choice(seeds), draw)
            path = Path(folder) / f"{case}.gguf"
            begun = time.perf_counter()
            try:
                accepted += parse(data, path, on_disk=case % 10 == 0)
            except BaseException:
                kept = Path(tempfile.gettempdir()) / f"fuzz-{seed}-{case}.gguf"
                kept.write_bytes(data)
                print(f"case {case} is kept as {kept}", file=sys.stderr)
                raise
            slowest = max(slowest, time.perf_counter() - begun)
            path.unlink(missing_ok=True)
    result = {"cases": count, "accepted": accepted, "seconds": time.perf_counter() - started, "slowest": slowest}
    print(json.dumps(result | {"memory": peak_memory() - before}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
