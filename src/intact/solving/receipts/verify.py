"""Verifying the receipt of a run: replay the method on the entries, and check their completions with the models."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import numpy as np

from intact._base.errors import IntactError, ParameterError, ReceiptError
from intact.library import Model
from intact.reason.registry import all_methods
from intact.receipts import verify as answers
from intact.receipts.canonical import HashName, new_hash
from intact.receipts.document import Receipt
from intact.solving.receipts.claims import Claims
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.mixes import RunModel
from intact.solving.receipts.packages import refusal
from intact.solving.receipts.programs import verify_programs
from intact.solving.receipts.prompts import needed_prompt
from intact.solving.receipts.replay import replay, text_mix_of
from intact.solving.receipts.sealed import on_path, source
from intact.solving.receipts.together import verify_together
from intact.solving.receipts.tools import verify_tools
from intact.solving.receipts.verdict import DecidedError, RunVerdict, false

if TYPE_CHECKING:
    from intact.receipts.verify import Verdict


MOST_PROMPTS: Final = 1 << 20
"""Maximum number of tokens in the receipts that `receipts_of_texts` returns, prompts included."""


def verify_run(
    model: Model,
    run: RunReceipt,
    winner: bool = False,
    most: int | None = None,
    *,
    others: Mapping[str, Model] | None = None,
    signed_by: bytes | None = None,
    between: Callable[[], None] | None = None,
    packages: Collection[str] = (),
) -> RunVerdict:
    """Verify the receipt of a run.

    Parameters
    ----------
    model : Model
        The first of the run's models.
    winner : bool
        If true, only the chosen completion and its ancestors are checked with the model, or all completions if none was
        chosen. A run with other completions is 'partial' unless it is false.
    most : int, optional
        Maximum number of tokens to check at the beginning of each completion. A run with a longer completion is
        'partial' unless it is false.
    others : mapping of str to Model, optional
        The run's other models, by the names used in the receipt.
    signed_by : bytes, optional
        The public key that must have signed the receipt. If None, a signature may be missing, but must be valid if
        present.
    between : callable, optional
        Called between steps of the engine, rounds of the method, and programs; an exception raised in it ends the
        verification.
    packages : collection of str
        Names of other packages whose methods may be imported and run. A run by a method from a package not named here
        is 'unverifiable'.
    """
    models = {run.header.models[0].name: model, **(others or {})}
    found = _refused(run, models, signed_by, packages)
    if found is not None:
        return found
    try:
        claims = replay(models, run, between)
        _check_prompt(models, run, between)
    except DecidedError as error:
        return _by_this_code(run, error.verdict)
    except IntactError as error:
        return _by_this_code(run, RunVerdict("false", "method", detail=f"no such run is possible: {error}"))
    texts = _hold_against(models, run, claims, winner, most=most, between=between)
    if texts.outcome not in ("true", "partial"):
        return texts  # run untrusted programs only if the model wrote them
    together = verify_together(models, claims, between)
    if together.outcome != "true":
        return replace(together, checked=texts.checked, given=texts.given)
    texts = replace(texts, checked=texts.checked + together.checked, given=texts.given + together.given)
    programs = verify_programs(claims, between)
    if programs.outcome != "true":
        return replace(programs, checked=texts.checked, given=texts.given)
    tools = verify_tools(claims, between)
    count = programs.programs + tools.programs
    decisive = texts if tools.outcome == "true" or (tools.outcome, texts.outcome) == ("partial", "partial") else tools
    return replace(decisive, checked=texts.checked, given=texts.given, programs=count)


def receipts_of_texts(
    model: Model, run: RunReceipt, between: Callable[[], None] | None = None
) -> list[tuple[int, Receipt]]:
    """Return the receipt of each completion of a run, with the index of its entry.

    The run's receipt states only the digest of a completion's request; the method, replayed on the entries, gives the
    request itself. Nothing is computed by the model, so these receipts are claims until they are verified.

    Raises
    ------
    ReceiptError
        If the method does not make this run from these entries, the run needs more than one model, or the requests
        together have more than `MOST_PROMPTS` tokens.
    """
    models = {run.header.models[0].name: model}
    found = _refused(run, models, None, ())
    if found is not None:
        raise ReceiptError(f"the run's texts have no receipts here: {found.detail}")
    try:
        claims = replay(models, run, between)
    except DecidedError as error:
        raise ReceiptError(f"the run's texts have no receipts here: {error}") from None
    receipts, tokens = [], 0
    for index, requested in sorted(claims.requested.items()):
        receipt = requested.receipt()
        tokens += len(receipt.header.request.prompt) + receipt.count
        if tokens > MOST_PROMPTS:
            raise ReceiptError(f"the run's texts and their prompts have more than {MOST_PROMPTS:,} tokens together")
        receipts.append((index, receipt))
    return receipts


def _check_prompt(models: Mapping[str, Model], run: RunReceipt, between: Callable[[], None] | None) -> None:
    """Raise DecidedError if the run would be the same with a smaller prompt."""
    stated, needed = run.header.prompt, needed_prompt(models, run, between)
    if needed == stated:
        return
    if isinstance(stated, str):
        raise false("extra", None, "it contains a prompt from which nothing was computed")
    place = next(i for i, (one, other) in enumerate(zip(stated, needed, strict=True)) if one != other)
    role = stated[place][0]
    raise false("extra", None, f"nothing was computed from turn {place + 1} of its prompt, of the role {role!r:.40}")


def _refused(
    run: RunReceipt, models: Mapping[str, Model], signed_by: bytes | None, packages: Collection[str]
) -> RunVerdict | None:
    """Return the verdict if the header alone decides it."""
    header = run.header
    try:
        new_hash(header.hash)
    except ParameterError as error:
        return RunVerdict("unverifiable", "hash", detail=str(error))
    unsigned = answers.signature_of(run, signed_by)
    if unsigned is not None:
        return _as_run(unsigned)
    for one in header.models:
        if one.name not in models:
            detail = f"it also needs a model that it calls {one.name!r:.80}, which is not given"
            return RunVerdict("unverifiable", "model", detail=detail)
        other = answers.identity(models[one.name], one.digests, one.numerics, header.hash)
        if other is not None:
            return _as_run(other)
        if (mixed := _mix_refused(one, models[one.name], header.hash)) is not None:
            return mixed
    if run.digest != run.root:
        return RunVerdict("false", "root", detail="its root does not match its entries")
    if header.package is not None:
        why = refusal(header.method, header.package, packages)
        return None if why is None else RunVerdict("unverifiable", "method", detail=why)
    if header.method not in all_methods():
        return RunVerdict("unverifiable", "method", detail=f"there is no method {header.method!r:.80} here")
    return None


def _mix_refused(own: RunModel, model: Model, hash: HashName) -> RunVerdict | None:  # noqa: A002
    """Return the verdict if the mix from which completions are sampled cannot be run."""
    try:
        text_mix_of(own, model, hash)
    except LookupError as error:
        return RunVerdict("unverifiable", "decoding", detail=str(error.args[0]))
    except ParameterError as error:
        return RunVerdict("false", "decoding", detail=f"no model takes its mix: {error}")
    return None


def _by_this_code(run: RunReceipt, found: RunVerdict) -> RunVerdict:
    """Return a replay's verdict; if other code produced the run, 'false' becomes 'unverifiable'.

    Other code may legitimately produce a different result from the same completions.
    """
    if found.outcome != "false" or run.header.source == source():
        return found
    detail = f"it was made by another version of intact or its algebra; use that, because here {found.detail}"
    return replace(found, outcome="unverifiable", what="method", detail=detail)


def _as_run(verdict: Verdict) -> RunVerdict:
    return RunVerdict(verdict.outcome, verdict.what, detail=verdict.detail)


def _hold_against(
    models: Mapping[str, Model],
    run: RunReceipt,
    claims: Claims,
    winner: bool,
    most: int | None,
    between: Callable[[], None] | None,
) -> RunVerdict:
    """Verify completions, many at once; the first false entry decides the verdict."""
    chosen, checked, given, found, whole = run.result.chosen, 0, 0, dict[int, RunVerdict](), 0
    for name in dict.fromkeys(requested.model for requested in claims.requested.values()):
        wanted = [
            index
            for index, requested in sorted(claims.requested.items())
            if requested.model == name and (not winner or chosen is None or on_path(requested.branch, chosen))
        ]
        counter = _Given(most)
        receipts = counter.count(claims.requested[index].receipt() for index in wanted)
        verdicts = answers.verify(models[name], receipts, most, between=between)
        for index, verdict in zip(wanted, verdicts, strict=True):
            checked += verdict.checked
            whole += verdict.outcome == "true"
            if verdict.outcome not in ("true", "partial"):
                found[index] = RunVerdict(verdict.outcome, verdict.what, index, verdict.position, detail=verdict.detail)
            if verdict.outcome == "false":
                break
        given += counter.tokens
    lies = [index for index, verdict in found.items() if verdict.outcome == "false"]
    count = len(claims.requested)
    complete = RunVerdict("true")
    if whole < count:
        complete = RunVerdict("partial", detail=f"only {whole} of its {count} texts were checked to their ends")
    decisive = found[min(lies or found)] if found else complete
    return replace(decisive, checked=checked, given=given)


class _Given:
    """A counter for the tokens given to a model: the output of each receipt, and each distinct prompt once."""

    def __init__(self, most: int | None) -> None:
        self.tokens = 0
        self._most = most
        self._prompts = set[bytes]()

    def count(self, receipts: Iterable[Receipt]) -> Iterator[Receipt]:
        """Yield the receipts while counting their tokens."""
        for receipt in receipts:
            request, output = receipt.header.request, receipt.output.tokens
            self.tokens += len(output[: self._most])
            shadows = () if request.decoding is None else [stream.prompt for stream in request.decoding.streams]
            for prompt in filter(None, (request.prompt, *shadows)):
                digest = sha256(np.array(prompt, np.int32).tobytes()).digest()  # keeping prompts would fill the memory
                self.tokens += 0 if digest in self._prompts else len(prompt)
                self._prompts.add(digest)
            yield receipt
