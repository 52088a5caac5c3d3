"""``intact receipt``: show the content of receipts, without verifying it."""

from __future__ import annotations

import json as encoder
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from intact._base.errors import ParameterError, ReceiptError
from intact.cli.options import JsonOption
from intact.cli.output import emit, note, one_line
from intact.cli.output import show as show_line
from intact.cli.receipt_verifier import ReceiptLine
from intact.cli.verify import entries

if TYPE_CHECKING:
    from intact.library.superposed import SuperposedReceipt
    from intact.quantizing.receipt import QuantizationReceipt
    from intact.receipts.document import Header, Receipt
    from intact.receipts.model_digests import ModelDigests, Numerics
    from intact.receipts.source import PromptSource
    from intact.solving.receipts.document import RunReceipt
    from intact.solving.receipts.mixes import RunModel

UNREADABLE: Final = 2
LONGEST: Final = 2000
"""Maximum length of a string before it is shortened."""
MOST: Final = 20
"""Maximum length of a list before it is shortened."""
WARNING: Final = "nothing here was verified: it is what the receipts say, whoever wrote them"
UNCHECKED: Final = (
    "model.name", "models.name", "decoding.streams.model.name", "models.mix.partners.name", "compiler", "sandbox",
    "method.source", "entries.tools.version", "intact",
)  # fmt: skip
"""Fields that cannot affect a verdict of `intact verify` if everything else is true (docs/spec/receipts.md)."""
PARTLY: Final = (
    "prompt.source.given", "prompt.source.now", "decoding.streams.prompt.source.given",
    "decoding.streams.prompt.source.now", "problem.prompt", "models.mix.shadow", "now",
)  # fmt: skip
"""Fields that are checked only to the extent that the chat template writes them."""
MARKS: Final = {"unchecked": "not checked", "partly_checked": "checked as far as the chat template writes it"}
EXAMPLES = """\
The content of an answer's receipt: model, question, parameters, answer, signer
  intact receipt show sky.receipt
One receipt of many, with texts in full; all receipts as JSON
  intact receipt show answers.receipts --line 7 --full
  intact receipt show answers.receipts --json
"""


def show(
    files: Annotated[list[Path], typer.Argument(metavar="RECEIPTS", help="Files of receipts.", show_default=False)],
    line: Annotated[
        int | None, typer.Option("--line", min=1, help="Show only this line of each file.", show_default=False)
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Show strings and lists in full, not only their beginnings.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show what receipts say. Nothing is verified: `intact verify` does that.

    Exit status 0: all receipts could be read. 2: a file is missing, or a line is not a receipt.
    """
    described, count, unreadable = [], 0, 0
    for entry in entries(files):
        if line not in (None, entry.line):
            continue
        content = describe(entry)
        count, unreadable = count + 1, unreadable + ("error" in content)
        content = content if full else _shortened(content)
        if json:
            described.append({"file": str(entry.file), "line": entry.line, **content})
        else:
            show_line(one_line(f"{entry.file}:{entry.line}  not verified"), style="bold")
            marks = {place: MARKS[kind] for kind in MARKS for place in content.pop(kind, ())}
            for row in _rows(content, marks, indent="  "):
                show_line(row)
    if not count:
        raise ParameterError(f"no file has a line {line}")
    if json:
        emit({"verified": False, "receipts": described})
    else:
        note(WARNING)
    if unreadable:
        raise typer.Exit(UNREADABLE)


def describe(entry: ReceiptLine) -> dict[str, Any]:
    """Return the content of a receipt as JSON values."""
    from intact.library.superposed import SuperposedReceipt
    from intact.quantizing.receipt import QuantizationReceipt
    from intact.receipts.document import Receipt

    content = entry.content
    if isinstance(content, ReceiptError):
        return {"error": str(content)}
    if isinstance(content, QuantizationReceipt):
        document = _quantization(content)
    elif isinstance(content, SuperposedReceipt):
        document = _superposed(content)
    else:
        document = _answer(content) if isinstance(content, Receipt) else _run(content)
    signature = None if content.signature is None else content.signature.key.hex()
    marked = {"unchecked": _given(document, UNCHECKED), "partly_checked": _given(document, PARTLY)}
    return {**document, "digest": entry.digest and entry.digest.hex(), "signature_by": signature, **marked}


def _given(document: dict[str, Any], places: tuple[str, ...]) -> list[str]:
    """Return those of the given field paths that a receipt fills; a path descends into all items of a list."""
    return [place for place in places if any(part is not None for part in _parts(document, place.split(".")))]


def _parts(value: Any, names: list[str]) -> list[Any]:
    """Return the values at a field path."""
    if isinstance(value, list):
        return [part for item in value for part in _parts(item, names)]
    if not names:
        return [value]
    return _parts(value[names[0]], names[1:]) if isinstance(value, dict) and names[0] in value else []


def _answer(receipt: Receipt) -> dict[str, Any]:
    header, output = receipt.header, receipt.output
    request = header.request.to_document()
    sampling, bias = request["sampling"], request["sampling"]["logit_bias"]
    return {
        "receipt_of": "an answer",
        "model": _model(header.model, header.numerics),
        "prompt": {"tokens": len(header.request.prompt), "source": _source(header.request.source)},
        "sampling": sampling | {"logit_bias": dict(zip(map(str, bias["tokens"]), bias["values"], strict=True))},
        **_decoding(header),
        "compiler": request["compiler"],
        "branch": request["branch"],
        "output": {"tokens": receipt.count, "finish": output.finish, "text": output.text},
        **({} if receipt.layers is None else {"layers": receipt.layers.to_document()}),
    }


def _decoding(header: Header) -> dict[str, Any]:
    """Describe the mix that tokens are sampled from; empty without a mix."""
    decoding = header.request.decoding
    if decoding is None:
        return {}
    streams = [
        {"model": _model(stream.model, header.numerics)}
        if stream.model is not None
        else {"prompt": {"tokens": len(stream.prompt or ()), "source": _source(stream.source)}}
        for stream in decoding.streams
    ]
    return {"decoding": decoding.to_document() | {"streams": streams}}


def _run(run: RunReceipt) -> dict[str, Any]:
    from intact.reason.problem import path
    from intact.solving.receipts.entries import SharedEntry, TextEntry
    from intact.solving.receipts.sealed import on_path

    header, result = run.header, run.result
    kinds = Counter(entry.to_document()["kind"] for entry in run.entries)
    texts = [entry for entry in run.entries if isinstance(entry, TextEntry | SharedEntry)]
    chosen = [one.written for one in texts if on_path(one.branch, result.chosen)]
    turns = header.prompt
    return {
        "receipt_of": "a run",
        "models": [
            {"called": one.name or None, **_model(one.digests, one.numerics), **_run_mix(one)} for one in header.models
        ],
        "method": {"name": header.method, "parameters": dict(header.parameters), "source": header.source.hex()},
        "problem": {
            "id": header.id,
            "prompt": turns
            if isinstance(turns, str)
            else [{"role": role, "content": content} for role, content in turns],
            "seed": str(header.seed),
            "reader": header.reader,
            "data": dict(header.data),
        },
        "sampling": dict(header.sampling),
        "budget": dict(header.budget),
        "now": header.now and header.now.isoformat(),
        "files": [name for name, _ in header.files],
        "compiler": header.compiler,
        "sandbox": header.sandbox and header.sandbox.to_document(),
        "entries": {
            "texts": len(texts),
            "tokens": run.count,
            "scores": kinds["score"],
            "programs": kinds["run"],
            "tools": _tools(run),
        },
        "result": {
            "answer": result.answer,
            "votes": [{"answer": answer, "weight": weight} for answer, weight in result.votes],
            "confidence": result.confidence,
            "chosen": result.chosen and path(result.chosen),
            "text": "".join(chosen) if chosen else None,
            "why": result.why,
            "cost": {name: value for name, value in result.cost.as_dict().items() if name != "seconds"},
        },
    }


def _tools(run: RunReceipt) -> list[dict[str, Any]]:
    """Describe the tools of a run, with the number of results of each."""
    from intact.solving.receipts.entries import ToolEntry

    kinds = Counter((one.tool, one.version.hex(), one.replayable) for one in run.entries if isinstance(one, ToolEntry))
    return [
        {"name": name, "version": version, "replayable": replayable, "results": count}
        for (name, version, replayable), count in kinds.items()
    ]


def _run_mix(one: RunModel) -> dict[str, Any]:
    """Describe the mix that a model's completions are sampled from; empty without a mix."""
    if one.mix is None:
        return {}
    return {"mix": one.mix.to_document() | {"partners": [_model(other, one.numerics) for other in one.mix.partners]}}


def _quantization(receipt: QuantizationReceipt) -> dict[str, Any]:
    members = {name: value for name, value in receipt.unsigned().items() if name not in ("format", "version")}
    return {"receipt_of": "a quantised model", **members}


def _superposed(receipt: SuperposedReceipt) -> dict[str, Any]:
    members = receipt.unsigned()
    request = members["request"]
    return {
        "receipt_of": "superposed drafts",
        "definition": receipt.definition,
        "model": _model(receipt.model, receipt.numerics),
        "prompt": {"tokens": len(receipt.request.prompt), "source": _source(receipt.request.source)},
        "parameters": {name: value for name, value in request.items() if name not in ("prompt", "source")},
        "ngrams": members["ngrams"],
        "drafts": [draft | {"tokens": len(draft["tokens"])} for draft in members["drafts"]],
    }


def _model(digests: ModelDigests, numerics: Numerics) -> dict[str, Any]:
    document = digests.to_document()
    parts = {name: document[name] for name in ("name", "weights", "tokenizer", "template")}
    return parts | {"numerics": numerics.to_document()}


def _source(source: PromptSource | None) -> dict[str, Any] | None:
    """Describe the source of a prompt: messages and variables, or the raw text."""
    if source is None:
        return None
    content: dict[str, Any] = {"text": source.text}
    if source.kind == "chat":
        with suppress(ReceiptError, RecursionError):
            given = source.conversation()
            turns = [_texts(turn if isinstance(turn, dict) else {"turn": turn}) for turn in given.pop("messages")]
            content = {"messages": turns, **_texts(given)}
    return {"kind": source.kind, "given": content, "now": source.now}


def _texts(members: dict[str, Any]) -> dict[str, str]:
    """Return the members as strings, with other values encoded as JSON at any depth."""
    return {
        name: part if isinstance(part, str) else encoder.dumps(part, ensure_ascii=False)
        for name, part in members.items()
    }


def _shortened(value: Any) -> Any:
    """Return a value with long strings and lists shortened, stating how much is left out."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST else f"{value[:LONGEST]}... ({len(value) - LONGEST:,} more characters)"
    if isinstance(value, Mapping):
        kept = {_shortened(name): _shortened(part) for name, part in list(value.items())[:MOST]}
        return kept | ({"...": f"{len(value) - MOST:,} more"} if len(value) > MOST else {})
    if isinstance(value, list | tuple):
        return [_shortened(part) for part in value[:MOST]] + (
            [f"... ({len(value) - MOST:,} more)"] if len(value) > MOST else []
        )
    return value


def _rows(value: Any, marks: Mapping[str, str], name: str = "", indent: str = "", place: str = "") -> Iterator[str]:
    """Yield readable lines: one per member, with nested members indented and multi-line strings marked with bars.

    A member at one of the field paths in `marks` is followed by its mark.
    """
    label = indent + one_line(name).replace("_", " ") + (f" [{marks[place]}]" if place in marks else "")
    below = indent + ("  " if name else "")
    if isinstance(value, Mapping) and value:
        if name:
            yield label
        for member, part in value.items():
            yield from _rows(part, marks, str(member), below, place=f"{place}.{member}" if place else str(member))
    elif isinstance(value, list | tuple) and any(isinstance(part, Mapping | list | tuple) for part in value):
        yield label
        for number, part in enumerate(value, 1):
            yield from _rows(part, marks, f"{number}", below, place=place if isinstance(part, Mapping) else "")
    elif isinstance(value, str) and "\n" in value:
        yield label
        for text in value.split("\n"):
            yield f"{below}| {one_line(text.expandtabs(4))}"
    else:
        yield f"{label}: {one_line(_scalar(value))}"


def _scalar(value: Any) -> str:
    if value is None or (isinstance(value, list | tuple | Mapping) and not value):
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_scalar, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
