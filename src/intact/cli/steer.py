"""``intact steer``: make a steering vector from contrasting pairs."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from intact._base.errors import ParameterError
from intact._base.files import read_text
from intact.cli import fetch
from intact.cli.model_option import ModelArgument
from intact.cli.options import JsonOption, ThreadsOption, check_output
from intact.cli.output import bar, emit, note

EXAMPLES = """\
From pairs of a concise and a verbose solution, after layer 14
  intact steer -m qwen2.5-coder-0.5b-instruct pairs.jsonl --layer 14 --out concise.gguf
Use it, at a quarter of its strength
  intact run -m qwen2.5-coder-0.5b-instruct "What is 17 * 24?" --adapter concise.gguf:0.25

Each line of the file is {"toward": "...", "away": "..."}: two texts exactly as the model reads them.
"""


def command(
    model: ModelArgument,
    pairs: Annotated[Path, typer.Argument(metavar="PAIRS", help="File of JSON lines.", show_default=False)],
    layers: Annotated[
        list[int],
        typer.Option("--layer", metavar="N", help="Layer whose output is steered, counted from 0; repeatable."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="GGUF file to write.", show_default=False)],
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Make a steering vector, which moves a model's output from one kind of text towards another."""
    check_output("--out", out)
    if out.exists():
        raise ParameterError(f"--out: {out} already exists; choose a new file")
    read = _read(pairs)
    path = fetch.locate(model)
    from intact.checkpoints.formats import open_checkpoint
    from intact.library.steering import TextPair, steering_vectors, write_vectors
    from intact.models import find_architecture

    with open_checkpoint(path) as checkpoint:
        architecture = find_architecture(checkpoint).gguf
    with bar() as progress:
        task = progress.add_task("reading", total=None)
        vectors = steering_vectors(
            path,
            [TextPair(**one) for one in read],
            list(dict.fromkeys(layers)),
            threads,
            progress=lambda done, whole: progress.update(task, completed=done, total=whole),
        )
    write_vectors(out, vectors, architecture)
    sizes = {layer: float((vector.astype("float64") ** 2).sum() ** 0.5) for layer, vector in vectors.items()}
    if json:
        emit({"file": str(out), "pairs": len(read), "vectors": [{"layer": n, "norm": sizes[n]} for n in sizes]})
        return
    each = ", ".join(f"after layer {layer} of norm {size:.4g}" for layer, size in sizes.items())
    note(f"{out}: from {len(read)} pairs, {each}; use it with --adapter {out} or {out}:FACTOR")


def _read(path: Path) -> list[dict[str, str]]:
    """Return the pairs in a file.

    Raises
    ------
    ParameterError
        If a line is not a pair; the message names the line.
    """
    found: list[dict[str, str]] = []
    for number, line in enumerate(read_text(path, ParameterError).splitlines(), 1):
        if not line.strip():
            continue
        try:
            value: Any = json_module.loads(line)
        except ValueError:
            value = None
        texts = value if isinstance(value, dict) and value.keys() == {"toward", "away"} else {}
        if not texts or not all(isinstance(text, str) and text for text in texts.values()):
            raise ParameterError(f'{path}, line {number}: expected {{"toward": "...", "away": "..."}}')
        found.append(texts)
    if not found:
        raise ParameterError(f"{path} contains no pairs of texts")
    return found
