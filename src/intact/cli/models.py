"""``intact models``: list the named models and their local copies, describe one, or remove it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from intact._base.errors import ParameterError
from intact.checkpoints.catalogue import CATALOGUE, DEFAULT, Entry, HubName, aliases, expand, find, resolve, store
from intact.cli import fetch
from intact.cli.model_option import MODEL_HELP
from intact.cli.options import JsonOption, complete_model
from intact.cli.output import emit, new_table, note, one_line, out, say, show_rows, size
from intact.cli.output import show as show_line

if TYPE_CHECKING:
    from intact.checkpoints.catalogue.pulled import PulledModel

EXAMPLES = """\
The named models, and which are here
  intact models
The local files
  intact models --json | jq -r '.models[] | select(.here).path'
One model: architecture, context, quantisation, licence, recommended sampling
  intact models show smollm2-135m-instruct
Free disk space
  intact models rm hf:Qwen/Qwen3-0.6B-GGUF:Q8_0
"""
SHOW_EXAMPLES = """\
A pulled model, or a file
  intact models show smollm2-135m-instruct
  intact models show ./model.gguf --json
"""
RM_EXAMPLES = """\
With confirmation
  intact models rm qwen3-0.6b
Without confirmation
  intact models rm hf:Qwen/Qwen3-0.6B-GGUF:Q8_0 --yes
"""


def listing(context: typer.Context, json: JsonOption = False) -> None:
    """List the named models: local copies, sizes, licences; show one, or remove it."""
    if context.invoked_subcommand is not None:
        if json:
            command = context.invoked_subcommand
            raise ParameterError(f"--json goes after the command: intact models {command} NAME --json")
        return
    from intact.checkpoints.catalogue.pulled import all_pulled

    pulled = all_pulled(lambda error: note(f"left out: {error}"))
    rows = [_row(entry) for entry in CATALOGUE.values()] + [_hub_row(one) for one in pulled]
    names = aliases()
    if json:
        own = [{"name": name, "model": model} for name, model in names.items()]
        emit({"store": str(store()), "models": rows, "aliases": own})
        return
    _print(rows, names)


def show(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help=MODEL_HELP, autocompletion=complete_model, show_default=False)
    ],
    json: JsonOption = False,
) -> None:
    """Describe a model: architecture, parameters, context, quantisation, template, licence, sampling defaults."""
    facts = describe(model, resolve(model))
    if json:
        emit(facts)
        return
    from intact.cli.info import format_fact

    cells = {key: format_fact(key, value) for key, value in facts.items()}
    cells["sampling_defaults"] = _sampling(facts["sampling_defaults"])
    show_rows((Text(key.replace("_", " "), "dim"), text) for key, text in cells.items())


def rm(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="Name listed by intact models.", autocompletion=complete_model, show_default=False
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    json: JsonOption = False,
) -> None:
    """Remove a model from the store, including any partial download and its record."""
    from intact.checkpoints.download import removable, remove

    text = expand(model)
    if text not in CATALOGUE and not HubName.matches(text):
        raise ParameterError(f"{model} is not listed by intact models; delete other files yourself")
    found = removable(text)
    if not yes and not fetch.agreed_to(f"Remove {found.name} ({size(found.bytes)}) from {store()}?"):
        raise ParameterError(f"{found.name} was kept, because the removal was not confirmed (--yes does not ask)")
    found = remove(text)
    if json:
        emit({"name": found.name, "bytes": found.bytes, "removed": [str(path) for path in found.paths]})
    else:
        say(f"{one_line(found.name)}: removed, {size(found.bytes)}\n")


def describe(model: str, path: Path) -> dict[str, Any]:
    """Return facts about a model from its files, and its origin."""
    from intact.checkpoints.formats import open_checkpoint
    from intact.cli.info import describe as facts_of
    from intact.engine.sampling.model_defaults import sampling_defaults
    from intact.text import Tokenizer

    facts = facts_of(path)
    with open_checkpoint(path) as checkpoint:
        defaults = sampling_defaults(checkpoint)
        template = Tokenizer.from_checkpoint(checkpoint).chat_template is not None
    source, licence = _origin(expand(model))
    return {
        "name": model,
        "path": str(path),
        "source": source,
        "architecture": facts["architecture"],
        "parameters": facts["parameters"],
        "context": facts["context"],
        "quantisation": next(iter(facts["formats"]), None),
        "formats": facts["formats"],
        "bytes": facts["bytes"],
        "chat_template": template,
        "licence": licence or facts.get("licence"),
        "sampling_defaults": defaults.to_dict(),
    }


def _origin(text: str) -> tuple[str | None, str | None]:
    """Return the source and licence of a pulled model; None for a path."""
    from intact.checkpoints.download import record

    if text in CATALOGUE:
        entry = CATALOGUE[text]
        return record(entry).get("source"), entry.licence
    if HubName.matches(text):
        from intact.checkpoints.catalogue.listing import Listing

        if (kept := Listing.kept(HubName.parse(text).folder)) is not None:
            return f"hub {kept.repo} at {kept.commit}", None if kept.licence == "unknown" else kept.licence
    return None, None


def _sampling(defaults: dict[str, Any]) -> str:
    parts = [f"{name} {value:g}" for name, value in defaults["values"].items()]
    parts += [f"left out: {text}" for text in defaults["left_out"]]
    return one_line(f"{', '.join(parts)} ({defaults['source']})") if parts else "none"


def _print(rows: list[dict[str, Any]], names: dict[str, str]) -> None:
    from rich.markup import escape

    table = new_table("name", "here", "size", "licence", "from", right=["size"], whole=["name"])
    for row in rows:
        here = "yes" if row["here"] else "part" if row["kind"] == "hub" else ""
        table.add_row(
            escape(one_line(row["name"])) + (" [dim](default)[/dim]" if row["default"] else ""),
            f"[green]{here}[/green]" if row["here"] else here,
            size(row["bytes"]),
            escape(one_line(row["licence"])),
            row["sources"][0].partition(" ")[0],
        )
    out().print(table)
    for name, model in names.items():
        show_line(f"{name} = {one_line(model)}")
    show_line(
        "A repository on the hub goes by hf:OWNER/REPO; any other GGUF file, or folder with safetensors, by its path. "
        f"Store: {store()}",
        style="dim",
    )


def _row(entry: Entry) -> dict[str, Any]:
    from intact.checkpoints.download import record

    path = find(entry.name)
    known = record(entry) if path else {}
    return {
        "name": entry.name,
        "kind": "catalogue",
        "default": entry.name == DEFAULT,
        "here": path is not None,
        "path": None if path is None else str(path),
        "bytes": entry.size if path is None else path.stat().st_size,
        "licence": entry.licence,
        "sources": [str(source) for source in entry.sources],
        "sha256": entry.sha256 or known.get("sha256"),
    }


def _hub_row(model: PulledModel) -> dict[str, Any]:
    digests = [file.get("sha256") for file in model.files.values()]
    return {
        "name": str(model.name),
        "kind": "hub",
        "default": False,
        "here": model.complete,
        "path": str(model.path) if model.complete else None,
        "bytes": model.bytes,
        "licence": model.listing.licence,
        "sources": [f"hub {model.listing.repo}"],
        "sha256": digests[0] if len(digests) == 1 else None,
    }
