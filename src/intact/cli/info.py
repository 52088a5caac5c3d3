"""``intact info``: describe this installation, or a model."""

from __future__ import annotations

import math
import platform
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.text import Text

from intact._base.errors import ParameterError
from intact.cli import fetch
from intact.cli.options import JsonOption, complete_model
from intact.cli.output import emit, show_rows, size

if TYPE_CHECKING:
    from intact.checkpoints.formats import Checkpoint

EXAMPLES = """\
Version, numerics version, instruction set, cores, memory
  intact info
The same with another tier: scalar, avx2, avx512, vbmi2, zen4, amx or neon
  INTACT_ISA=scalar intact info
A model's architecture, layers, weight formats and context
  intact info smollm2-135m-instruct
  intact info ./model.gguf --json
The model's digests, as recorded in receipts: weights, tokenizer, chat template
  intact info smollm2-135m-instruct --digests
The supported architectures, their names in files, and how they were compared
  intact info --architectures
The drafters of speculative decoding
  intact info --drafters
The KV cache codecs
  intact info --codecs
Both lists, as JSON
  intact info --codecs --drafters --json
"""


class InfoList(NamedTuple):
    """A listing, as JSON and as table rows."""

    document: list[dict[str, Any]]
    rows: Sequence[tuple[str, ...]]


def command(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="Model name or path; without it, this installation.",
            autocompletion=complete_model,
            show_default=False,
        ),
    ] = None,
    digests: Annotated[
        bool,
        typer.Option(
            "--digests", help="Also print the model's digests as recorded in receipts (docs/spec/receipts.md)."
        ),
    ] = False,
    architectures: Annotated[
        bool, typer.Option("--architectures", help="List the supported architectures (docs/families.md).")
    ] = False,
    drafters: Annotated[bool, typer.Option("--drafters", help="List the drafters (docs/drafting.md).")] = False,
    codecs: Annotated[
        bool, typer.Option("--codecs", help="List the KV cache codecs (docs/spec/kv_codecs.md).")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Describe this installation or a model, or list architectures, drafters or KV cache codecs."""
    chosen = {"architectures": architectures, "drafters": drafters, "codecs": codecs}
    wanted = [name for name, given in chosen.items() if given]
    if wanted and (model is not None or digests):
        raise ParameterError(f"--{wanted[0]} describes this installation: leave out the model")
    if model is None and digests:
        raise ParameterError("--digests describes a model: give one")
    if wanted:
        show_lists({name: _LISTS[name]() for name in wanted}, json)
        return
    facts = installation() if model is None else describe(fetch.locate(model), digests)
    if json:
        emit(facts)
        return
    show_rows((Text(key.replace("_", " "), "dim"), format_fact(key, value)) for key, value in facts.items())


def show_lists(lists: Mapping[str, InfoList], json: bool) -> None:
    """Print listings with one line per entry, or as JSON: a single one directly, several keyed by name."""
    if json:
        found = {name: one.document for name, one in lists.items()}
        emit(found if len(found) > 1 else next(iter(found.values())))
        return
    for name, one in lists.items():
        if len(lists) > 1:
            show_rows([(Text(name, "bold"),)])
        show_rows(one.rows)


def _architectures() -> InfoList:
    """List the architectures; as JSON with all known facts."""
    from intact.models.descriptions import describe_architectures

    found = describe_architectures()
    programs = sorted({one.compared.program for one in found if one.compared})
    rows = [("name", "worst difference", f"from {', '.join(programs)} in float64; what it is, names in config.json")]
    for one in found:
        worst = "-" if one.compared is None else f"{one.compared.difference:.1e}"
        rows.append((one.name, worst, f"{one.title}: {one.summary}; {', '.join(one.hf)}"))
    return InfoList([one.as_dict() for one in found], rows)


def _drafters() -> InfoList:
    """List the drafters."""
    from intact.engine.drafting import describe_drafters

    found = describe_drafters()
    by = {"drafter": "", "draft_model": " (named by its folder: --draft-model FOLDER)"}
    return InfoList(found, [(one["name"], one["summary"] + by[one["chosen_by"]]) for one in found])


def _codecs() -> InfoList:
    """List the KV cache codecs."""
    from intact.numerics.profiles import describe_codecs

    found = describe_codecs()
    smaller = (f"{one['bytes_without'] / one['bytes']:.2f} times smaller: {one['summary']}" for one in found)
    return InfoList(found, [(one["name"], row) for one, row in zip(found, smaller, strict=True)])


_LISTS = {"architectures": _architectures, "drafters": _drafters, "codecs": _codecs}


def installation() -> dict[str, Any]:
    """Return version, numerics version, tier, cores, threads and memory."""
    import intact
    from intact._base.memory import usable
    from intact._base.system import processors
    from intact.executors.base import choose_threads
    from intact.executors.gpu.shaders import shaders_digest
    from intact.executors.native import available_tiers, chosen_tier, describe_faster_tier
    from intact.numerics import VERSION

    return {
        "version": intact.__version__,
        "numerics_version": VERSION,
        "tier": chosen_tier(),
        "tiers": available_tiers(),
        "faster_tier": describe_faster_tier(),
        "threads": choose_threads(None),
        "cores": processors(),
        "memory": usable(),
        "machine": platform.machine(),
        "shaders": shaders_digest(),
        "python": platform.python_version(),
    }


def describe(path: Path, digests: bool = False) -> dict[str, Any]:
    """Describe a checkpoint from its header; weights are read only to compute digests."""
    from intact.checkpoints.formats import open_checkpoint

    with open_checkpoint(path) as checkpoint:
        kinds: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        parameters = 0
        for tensor in checkpoint.tensors.values():
            kinds[tensor.kind][0] += 1
            kinds[tensor.kind][1] += tensor.stored_bytes
            parameters += math.prod(tensor.shape)
        facts = _gguf(checkpoint.metadata) if checkpoint.format == "gguf" else _config(checkpoint.metadata)
        return {
            "path": str(path),
            "format": checkpoint.format,
            **facts,
            "parameters": parameters,
            "bytes": sum(total for _, total in kinds.values()),
            "formats": {
                kind: {"tensors": number, "bytes": total}
                for kind, (number, total) in sorted(kinds.items(), key=lambda item: -item[1][1])
            },
            **(_digests(checkpoint) if digests else {}),
        }


def _digests(checkpoint: Checkpoint) -> dict[str, Any]:
    from intact.models import build_program
    from intact.receipts.identity import identify
    from intact.text import Tokenizer

    _, found = identify(checkpoint, build_program(checkpoint), Tokenizer.from_checkpoint(checkpoint))
    names = ("weights", "tokenizer", "template")
    return {f"{name}_digest": digest.hex() for name in names if (digest := getattr(found, name)) is not None}


def _gguf(metadata: Any) -> dict[str, Any]:
    architecture = metadata.get("general.architecture")
    tokens = metadata.get("tokenizer.ggml.tokens")
    return {
        "name": metadata.get("general.name"),
        "architecture": architecture,
        "layers": metadata.get(f"{architecture}.block_count"),
        "width": metadata.get(f"{architecture}.embedding_length"),
        "heads": metadata.get(f"{architecture}.attention.head_count"),
        "kv_heads": metadata.get(f"{architecture}.attention.head_count_kv"),
        "context": metadata.get(f"{architecture}.context_length"),
        "vocabulary": None if tokens is None else len(tokens),
        "tokenizer": metadata.get("tokenizer.ggml.pre") or metadata.get("tokenizer.ggml.model"),
        "chat_template": "tokenizer.chat_template" in metadata,
        "licence": metadata.get("general.license"),
    }


def _config(config: Any) -> dict[str, Any]:
    return {
        "architecture": config.get("model_type"),
        "layers": config.get("num_hidden_layers"),
        "width": config.get("hidden_size"),
        "heads": config.get("num_attention_heads"),
        "kv_heads": config.get("num_key_value_heads"),
        "context": config.get("max_position_embeddings"),
        "vocabulary": config.get("vocab_size"),
    }


def format_fact(key: str, value: Any) -> str:
    """Format a fact as the text of a table cell."""
    if value is None:
        return "-"
    if key in ("bytes", "memory"):
        return size(value)
    if key == "formats":
        return ", ".join(f"{kind} x {part['tensors']} ({size(part['bytes'])})" for kind, part in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value:,}" if key == "parameters" else str(value)
