"""``intact superposed``: write several drafts of a text in a single pass, by superposed decoding."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from intact._base.errors import ParameterError
from intact._base.files import read_text
from intact.checkpoints.catalogue import DEFAULT
from intact.cli import fetch
from intact.cli.model_option import model_option
from intact.cli.options import AdapterOption, JsonOption, KvOption, ProfileOption, ThreadsOption, check_output, coded
from intact.cli.output import emit, printable, show_rows
from intact.cli.run import PromptArgument, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from intact.library.superposed import SuperposedDraft, SuperposedRequest

EXAMPLES = """\
Three drafts that continue a text
  intact superposed "The sky is" --max-tokens 6
Eight drafts from another model
  intact superposed -m qwen2.5-coder-0.5b-instruct "def quicksort(" -n 8
Drafts that resemble the lines of a file
  intact superposed "The sky is" --ngrams texts.txt
With a receipt, which identifies the n-grams by digest
  intact superposed "The sky is" --ngrams texts.txt --receipt drafts.receipt
  intact verify drafts.receipt --ngrams texts.txt
"""


def command(
    words: PromptArgument = None,
    named: Annotated[str | None, model_option(show_default=DEFAULT)] = None,
    n: Annotated[int, typer.Option("-n", "--n", "--drafts", help="Number of drafts, at most 64.")] = 3,
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Maximum tokens per draft.")] = 10,
    temperature: Annotated[
        float, typer.Option("--temperature", help="Temperature of the distribution that tokens are sampled from.")
    ] = 0.06,
    ngrams: Annotated[
        Path | None,
        typer.Option("--ngrams", metavar="FILE", help="File of examples that drafts should resemble, one per line."),
    ] = None,
    alpha: Annotated[float, typer.Option("--alpha", help="Weight of the text in --ngrams, 0 to 1.")] = 0.54,
    candidates: Annotated[
        int | None,
        typer.Option(
            "--candidates", help="Number of likeliest next tokens to consider.", show_default="three for each draft"
        ),
    ] = None,
    profile: ProfileOption = "int8",
    kv: KvOption = None,
    threads: ThreadsOption = None,
    adapter: AdapterOption = None,
    receipt: Annotated[
        Path | None,
        typer.Option(
            "--receipt", metavar="FILE", help="Write a receipt of the drafts, for intact verify.", show_default=False
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write several drafts of a text for about the cost of one.

    The drafts approximate the model's own completions, and are the same on every machine. A higher score is better. The
    prompt is used as is, without the chat template.
    """
    from intact.library.superposed import NGrams, SuperposedDecoder, make_receipt
    from intact.library.superposed.request import check_parameters
    from intact.numerics.sampling import LOGPROB_SCALE

    model_name, prompt = parse(words or [], named, "superposed")
    check_output("--receipt", receipt)
    profile = coded(profile, kv)
    if profile == "fp32":
        raise ParameterError("superposed decoding is defined only for integers: give a --profile such as int8")
    parameters: dict[str, Any] = {"n": n, "max_tokens": max_tokens, "temperature": temperature, "alpha": alpha}
    check_parameters(**parameters, candidates=3 * n if candidates is None else candidates)
    texts = None if ngrams is None else read_text(ngrams, ParameterError)
    if texts is not None and not texts.strip():
        raise ParameterError(f"{ngrams} contains no text; expected one per line")

    model = fetch.load(model_name, profile, threads, drafter="off", adapter=adapter)
    table = None if texts is None else NGrams.of_lines(model.tokenizer, texts)
    with SuperposedDecoder(model, table) as decoder:
        request = decoder.request(prompt, **parameters, candidates=candidates)
        if receipt is None:
            drafts: Sequence[SuperposedDraft] = decoder.run(request)
        else:
            made = make_receipt(decoder, request)
            drafts = made.drafts
            made.save(receipt)
    if json:
        emit(_document(model_name, profile, request, None if table is None else table.digest.hex(), drafts=drafts))
    else:
        texts_of = [printable(draft.text, sys.stdout) for draft in drafts]
        show_rows((f"{one.score / LOGPROB_SCALE:.3f}", text) for one, text in zip(drafts, texts_of, strict=True))


def _document(
    model: str, profile: str, request: SuperposedRequest, ngrams: str | None, drafts: Sequence[SuperposedDraft]
) -> dict[str, Any]:
    """Return the drafts as a JSON value that is the same on every machine."""
    from intact.numerics.sampling import LOGPROB_SCALE

    return {
        "model": model,
        "profile": profile,
        "n": request.n,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "alpha": request.alpha,
        "candidates": request.candidates,
        "ngrams": ngrams,
        "prompt_tokens": len(request.prompt),
        "score_scale": LOGPROB_SCALE,
        "drafts": [draft._asdict() for draft in drafts],
    }
