"""Verify receipts: run their requests again with known tokens, so that many positions are checked at once.

The engine samples each token from its key as usual; a receipt is true if everything in it is reproduced. Stop strings,
penalties, constraints, end tokens, preemption and shared prompts therefore need no second implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from intact._base.errors import (
    CapacityError,
    ConstraintError,
    FormatError,
    IntactError,
    NewerReceiptError,
    NotInstalledError,
    ParameterError,
)
from intact.engine.request import Mixing, StreamPrompt
from intact.engine.sampling import constraints
from intact.numerics.sampling import branch_key
from intact.receipts.canonical import HashName, new_hash
from intact.receipts.document import AnyReceipt, Header, Receipt, first_link, next_link
from intact.receipts.identity import digests_of, numerics_of
from intact.receipts.likeliest import pack
from intact.receipts.model_digests import ModelDigests, Numerics
from intact.receipts.signature import is_weak
from intact.receipts.source import PromptSource
from intact.receipts.spreads import SPREAD
from intact.receipts.spreads import pack as pack_spreads

if TYPE_CHECKING:
    from intact.engine.completion import Completion, Job, JobOptions
    from intact.engine.model import LoadedModel, Partner
    from intact.engine.request import Event, Finish

Outcome = Literal["true", "partial", "false", "unverifiable"]
What = Literal[
    "hash", "weights", "numerics", "tokenizer", "template", "prompt", "sampling", "decoding", "context", "memory",
    "constraint",
    "hidden state", "token", "logprobs", "likeliest", "spread", "finish", "text", "signature", "format", "version",
    "model", "layers", "ngrams", "drafts", "score",
]  # fmt: skip
T = TypeVar("T")
WINDOW = 64
"""Maximum number of receipts whose requests run together."""
ENOUGH = 1 << 13
"""Number of tokens that close a window: the engine's steps are full by then, and verdicts should not be delayed."""


@dataclass(frozen=True)
class Verdict:
    """The result of verifying a receipt.

    Attributes
    ----------
    outcome : {'true', 'partial', 'false', 'unverifiable'}
        The receipt matches the model; the checked part matches, but not everything was checked; it does not match; or
        this model or this program cannot decide.
    what : str or None
        The part that differs or is missing, if any.
    position : int or None
        The first output token that differs, from 0; the first prompt token if `what` is 'prompt'.
    detail : str
        Explanation of the verdict.
    checked : int
        Number of output tokens found to be true.
    """

    outcome: Outcome
    what: What | None = None
    position: int | None = None
    detail: str = ""
    checked: int = 0


def unreadable(error: ValueError) -> Verdict:
    """Return the verdict on data that is not a receipt, or a receipt of a later version."""
    return Verdict("unverifiable", "version" if isinstance(error, NewerReceiptError) else "format", None, str(error))


def verify(
    model: LoadedModel,
    receipts: Iterable[Receipt],
    most: int | None = None,
    signed_by: bytes | None = None,
    between: Callable[[], None] | None = None,
) -> Iterator[Verdict]:
    """Verify receipts, many at a time in shared steps; yield a verdict for each, in order.

    Parameters
    ----------
    most : int, optional
        Maximum number of tokens to check at the beginning of each output; by default all. A receipt with more tokens is
        'partial' unless it is false.
    signed_by : bytes, optional
        The public key that must have signed the receipts. Without it, a signature may be missing, but must be valid if
        present.
    between : callable, optional
        Called before each step of the engine; an exception that it raises ends the verification.
    """
    for window in windows(receipts, lambda receipt: min(receipt.count, most or receipt.count)):
        yield from verify_together(model, window, most, signed_by, between=between)


def windows(items: Iterable[T], tokens: Callable[[T], int]) -> Iterator[list[T]]:
    """Group items into lists that are verified together: up to `WINDOW` items, or until they reach `ENOUGH` tokens."""
    window: list[T] = []
    total = 0
    for item in items:
        window.append(item)
        total += tokens(item)
        if len(window) == WINDOW or total >= ENOUGH:
            yield window
            window, total = [], 0
    if window:
        yield window


def verify_together(
    model: LoadedModel,
    receipts: Iterable[Receipt],
    most: int | None = None,
    signed_by: bytes | None = None,
    between: Callable[[], None] | None = None,
    layers: bool = True,
) -> list[Verdict]:
    """Verify receipts as `verify` does, all in the same steps.

    Parameters
    ----------
    layers : bool
        If false, commitments to the rows between layers are not checked.
    """
    checks = [_Check(receipt, most) for receipt in receipts]
    groups: dict[tuple[object, ...], _Group] = {}
    for check in checks:
        check.found = rejected_by_header(model, check.receipt, signed_by)
        if check.found is None:
            request = check.receipt.header.request
            adapter = adapter_of(model, check.receipt.header)
            shared = request.prompt, replace(request.parameters, seed=0), request.decoding, adapter
            groups.setdefault(shared, _Group()).checks.append(check)
    model.run([job for group in groups.values() if (job := group.begin(model)) is not None], between)
    for group in groups.values():
        group.end()
    for check in checks if layers else ():
        if check.found is not None and check.found.outcome == "true" and check.receipt.layers is not None:
            check.found = _layers(model, check.receipt, check.found)
    return [check.found for check in checks if check.found is not None]


def _layers(model: LoadedModel, receipt: Receipt, found: Verdict) -> Verdict:
    """Return the verdict on a receipt with a true answer, after checking its commitment to the rows between layers."""
    from intact.receipts.layers import trace

    try:
        own = trace(model, receipt, adapter_of(model, receipt.header)).commitment
    except (CapacityError, ParameterError) as error:
        return replace(found, outcome="unverifiable", what="layers", detail=str(error))
    if own != receipt.layers:
        detail = "its answer is true, but the rows between layers differ from those that it commits to"
        return replace(found, outcome="false", what="layers", detail=detail)
    return found


def rejected_by_header(model: LoadedModel, receipt: Receipt, signed_by: bytes | None) -> Verdict | None:
    """Return the verdict if the header is enough to decide it."""
    try:
        new_hash(receipt.header.hash)
    except ParameterError as error:
        return Verdict("unverifiable", "hash", None, str(error))
    header = receipt.header
    return (
        signature_of(receipt, signed_by)
        or identity(model.variant(adapter_of(model, header)), header.model, header.numerics, header.hash)
        or _request(model, receipt)
        or _decoding(model, receipt)
    )


def signature_of(receipt: AnyReceipt, signed_by: bytes | None) -> Verdict | None:
    """Return the verdict if a receipt's signature is invalid, or is not by the required key."""
    signature = receipt.signature
    if signature is None:
        return None if signed_by is None else Verdict("unverifiable", "signature", None, "it is not signed")
    if signed_by is not None and signature.key != signed_by:
        detail = f"it is signed by {signature.key.hex()}, not by {signed_by.hex()}"
        return Verdict("unverifiable", "signature", None, detail)
    try:
        if not signature.holds(receipt.digest):
            detail = f"{signature.key.hex()} has not signed this"
            if is_weak(signature.key):
                detail = f"{signature.key.hex()} is a key that anybody can sign for, or not in the form of RFC 8032"
            return Verdict("false", "signature", None, detail)
    except ParameterError as error:
        return Verdict("unverifiable", "signature", None, str(error))
    return None


def adapter_of(model: LoadedModel, header: Header) -> str | None:
    """Return the adapter with which a model matches the weights in a receipt.

    Return "" for the model without an adapter, and None if the default matches or no adapter does.
    """
    weights = header.model.weights
    names = ("", *model.adapters) if model.adapters and weights != digests_of(model, header.hash).weights else ()
    return next((name for name in names if digests_of(model.variant(name), header.hash).weights == weights), None)


def identity(model: LoadedModel | Partner, claimed: ModelDigests, given: Numerics, hash: HashName) -> Verdict | None:  # noqa: A002
    """Return the verdict if a receipt is for a different model or arithmetic."""
    own = digests_of(model, hash)
    if claimed.weights != own.weights:
        named = f", which calls itself {claimed.name!r:.80}" if claimed.name else ""
        detail = (
            f"it is for a model with the weights {claimed.weights.hex()}{named}; {model.path} has {own.weights.hex()}"
        )
        return Verdict("unverifiable", "weights", None, detail)
    if claimed.tensors != own.tensors:
        detail = f"it says that these weights have {claimed.tensors} tensors; they have {own.tensors}"
        return Verdict("unverifiable", "weights", None, detail)
    mine = numerics_of(model)
    for name in ("profile", "version", "bits"):
        if getattr(given, name) != getattr(mine, name):
            detail = f"its {name} is {getattr(given, name)!r:.40}; this model runs in {getattr(mine, name)!r}"
            return Verdict("unverifiable", "numerics", None, detail)
    if (claimed.tokenizer, claimed.ends) != (own.tokenizer, own.ends):
        return Verdict("unverifiable", "tokenizer", None, f"its tokenizer is not the one of {model.path}")
    if claimed.template != own.template:
        return Verdict("unverifiable", "template", None, f"its chat template is not the one of {model.path}")
    return None


def _request(model: LoadedModel, receipt: Receipt) -> Verdict | None:
    """Return the verdict if the request does not fit the model, or its source does not produce its prompt."""
    request, tokens = receipt.header.request, receipt.output.tokens
    return rejected_tokens(model, request.prompt, tokens, len(tokens)) or rejected_source(
        model, request.source, request.prompt
    )


def rejected_tokens(model: LoadedModel, prompt: Sequence[int], output: Sequence[int], longest: int) -> Verdict | None:
    """Return the verdict if tokens are outside the model's vocabulary, or the prompt and output exceed its context."""
    vocabulary = model.program.vocabulary
    parts: tuple[tuple[What, Sequence[int]], ...] = (("prompt", prompt), ("token", output))
    for what, several in parts:
        outside = next((i for i, token in enumerate(several) if token >= vocabulary), None)
        if outside is not None:
            detail = f"token {several[outside]} is outside this model's vocabulary, 0 to {vocabulary - 1}"
            return Verdict("false", what, outside, detail)
    if len(prompt) + longest > model.context:
        detail = f"{len(prompt)} and {longest} tokens exceed the context of {model.context}"
        return Verdict("unverifiable", "context", None, detail)
    return None


def rejected_source(model: LoadedModel, source: PromptSource | None, prompt: Sequence[int]) -> Verdict | None:
    """Return the verdict if a source does not produce its prompt."""
    if source is None:
        return None
    try:
        made = source.encode(model.tokenizer)
    except FormatError as error:  # a limit of the template, which may not apply elsewhere
        return Verdict("unverifiable", "template", None, str(error))
    except IntactError as error:
        return Verdict("false", "prompt", None, f"its source does not give a prompt: {error}")
    position = first_difference(made, prompt)
    if position is None:
        return None
    return Verdict("false", "prompt", position, "its source gives other tokens than its prompt")


def _decoding(model: LoadedModel, receipt: Receipt) -> Verdict | None:
    """Return the verdict if the mix from which tokens are sampled cannot be run."""
    header = receipt.header
    decoding = header.request.decoding
    if decoding is None:
        return None
    try:
        mixing = mixing_of(model, header)
    except LookupError as error:
        return Verdict("unverifiable", "decoding", None, str(error.args[0]))
    except ParameterError as error:
        return Verdict("false", "decoding", None, f"no model takes its mix: {error}")
    assert mixing is not None
    for given in mixing.streams:
        context = model.partners[given.model - 1].program.context if given.model else model.context
        if len(given.tokens) + receipt.count > context:
            detail = f"{len(given.tokens)} and {receipt.count} tokens of a stream exceed the context of {context}"
            return Verdict("unverifiable", "context", None, detail)
    for stream in decoding.streams:
        outside = next((token for token in stream.prompt or () if token >= model.program.vocabulary), None)
        if outside is not None:
            return Verdict(
                "false", "decoding", None, f"token {outside} of a stream's prompt is outside this model's vocabulary"
            )
        if found := rejected_source(model, stream.source, stream.prompt or ()):
            return replace(found, detail=f"of a stream of its mix: {found.detail}")
    return None


def mixing_of(model: LoadedModel, header: Header) -> Mixing | None:
    """Return the mix in a receipt's header, with its streams, in the form used by the engine.

    Raises
    ------
    LookupError
        If the mix, or a model that it needs, is not available.
    ParameterError
        If the mix does not take these parameters or streams.
    """
    request = header.request
    if request.decoding is None:
        return None
    streams = []
    for stream in request.decoding.streams:
        number = 0 if stream.model is None else partner_number(model, stream.model, header.numerics, header.hash)
        streams.append(StreamPrompt(number, np.array(stream.prompt or request.prompt, np.int32)))
    return Mixing(request.decoding.chosen, tuple(streams))


def partner_number(model: LoadedModel, claimed: ModelDigests, given: Numerics, hash: HashName) -> int:  # noqa: A002
    """Return the number of the partner that a receipt names, from 1.

    Raises
    ------
    LookupError
        If the model has no such partner.
    """
    for number, partner in enumerate(model.partners, 1):
        if identity(partner, claimed, given, hash) is None:
            return number
    named = f", which calls itself {claimed.name!r:.80}" if claimed.name else ""
    raise LookupError(
        f"its mix takes another model besides, with the weights {claimed.weights.hex()}{named}: give it too"
    )


def first_difference(a: Sequence[object], b: Sequence[object]) -> int | None:
    """Return the first index at which two sequences differ, or at which one has ended."""
    for place, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return place
    return None if len(a) == len(b) else min(len(a), len(b))


class _Group:
    """Receipts that differ only in branch or seed: samples of one request.

    Acts as a `Recorder` that compares tokens.
    """

    def __init__(self) -> None:
        self.checks: list[_Check] = []
        self._job: Job | None = None

    def begin(self, model: LoadedModel) -> Job | None:
        """Return the job, or None if it cannot run; then all verdicts are decided."""
        request = self.checks[0].receipt.header.request
        requests = [check.receipt.header.request for check in self.checks]
        keys = [branch_key(each.parameters.seed, each.branch) for each in requests]
        known = [check.claimed for check in self.checks]
        try:
            mixing = mixing_of(model, self.checks[0].receipt.header)
            adapter = adapter_of(model, self.checks[0].receipt.header)
            options: JobOptions = {"recorder": self, "known": known, "mixing": mixing}
            options["spread"] = any(check.receipt.output.spread is not None for check in self.checks)
            self._job = model.job(request.prompt, request.parameters, keys, adapter, **options)
        except CapacityError as error:
            self._decide(Verdict("unverifiable", "memory", None, str(error)))
        except (ConstraintError, NotInstalledError) as error:
            self._decide(Verdict("unverifiable", "constraint", None, str(error)))
        except ParameterError as error:
            self._decide(Verdict("false", "sampling", None, f"no model takes this request: {error}"))
        return self._job

    def _decide(self, verdict: Verdict) -> None:
        for check in self.checks:
            check.found = verdict

    def watch(self, event: Event) -> Finish | None:
        """Compare a token of a sample with its receipt."""
        return self.checks[event.sample].watch(event)

    def receipt(self, sample: int, completion: Completion) -> None:
        """Return None: no new receipt is made."""

    def end(self) -> None:
        """Decide the verdicts after the job is done."""
        if self._job is not None:
            for i, check in enumerate(self.checks):
                check.end(self._job.completion(i, False))


class _Check:
    """A receipt that is being verified."""

    def __init__(self, receipt: Receipt, most: int | None) -> None:
        self.receipt, claimed = receipt, receipt.output.tokens
        self.claimed = claimed if most is None else claimed[:most]
        self.found: Verdict | None = None
        self._partial = len(self.claimed) < len(claimed)
        self._cut = self._partial or receipt.output.finish == "cancelled"
        self._last = b""
        self._checked = 0

    def watch(self, event: Event) -> Finish | None:
        """Compare a token and its link; end the sample at the first difference, or when enough tokens are checked."""
        index = self._checked
        if index == len(self.claimed):
            self.found = self._verdict("finish", "the model continues where the receipt ends")
            return "cancelled"
        if not index:
            header = self.receipt.header
            self._last = first_link(header.hash, header.digest)
        self.found = self._compare(event, index)
        if self.found is not None:
            return "cancelled"
        self._last = self.receipt.link(index)
        self._checked += 1
        return "cancelled" if self._cut and self._checked == len(self.claimed) else None

    def _compare(self, event: Event, index: int) -> Verdict | None:
        """Return the verdict if a token of the receipt is wrong, given that all earlier tokens are right."""
        name, claimed = self.receipt.header.hash, self.claimed[index]
        link = self.receipt.link(index)
        same = link == next_link(name, self._last, claimed, event.head)
        if event.token == claimed and same:
            output = self.receipt.output
            if output.logprobs is not None and output.logprobs[index] != event.logprob:
                return self._verdict("logprobs", f"it says {output.logprobs[index]}; the model gives {event.logprob}")
            if output.top is not None:
                top, size = pack([event.top]), len(output.top) // len(output.tokens)
                if output.top[index * size : (index + 1) * size] != top:
                    return self._verdict("likeliest", "the model gives other likeliest tokens, or other probabilities")
            if output.spread is not None and event.spread is not None:
                claim = output.spread[index * SPREAD : (index + 1) * SPREAD]
                if claim != pack_spreads([event.spread]):
                    return self._verdict("spread", "the model's distribution has another entropy or certainty")
            return None
        drawn = event.token >= 0 and link == next_link(name, self._last, event.token, event.head)
        if event.token != claimed and (same or drawn):
            return self._verdict(
                "token",
                f"it says {claimed}; from the same hidden state its seed, branch and sampling draw {event.token}",
            )
        return self._verdict(
            "hidden state",
            "the input of the head is not what these weights give for this text"
            + (", or the header is not the one that its chain began with" if not index else ""),
        )

    def _verdict(self, what: What, detail: str) -> Verdict:
        return Verdict("false", what, self._checked, detail, checked=self._checked)

    def end(self, completion: Completion) -> None:
        """Decide the verdict after the sample is done."""
        found = self.found or self._ended(completion)
        own = self.receipt.header.request.compiler
        drawn = found.what in ("token", "finish")  # masks affect these, but not states, text and log-probabilities
        if drawn and own is not None and own != constraints.compiler():
            detail = f"its constraint was compiled by {own:.80}, here by {constraints.compiler()}: {found.detail}"
            found = Verdict("unverifiable", "constraint", found.position, detail, checked=found.checked)
        self.found = found

    def _ended(self, completion: Completion) -> Verdict:
        """Return the verdict, given that all sampled tokens are right."""
        if isinstance(completion.error, CapacityError):
            return Verdict("unverifiable", "memory", None, str(completion.error), checked=self._checked)
        if completion.error is not None and not isinstance(completion.error, ParameterError):
            raise completion.error
        if self._checked < len(self.claimed) or (self._partial and completion.finish != "cancelled"):
            reason = completion.error or completion.finish
            return self._verdict("finish", f"the model's answer ends here ({reason}), but the receipt continues")
        if self._partial:
            count = len(self.receipt.output.tokens)
            detail = f"only {self._checked} of its {count} tokens were checked"
            return Verdict("partial", detail=detail, checked=self._checked)
        output = self.receipt.output
        if completion.finish != output.finish:
            return self._verdict(
                "finish", f"it says {output.finish!r}; the model's answer ends by {completion.finish!r}"
            )
        character = first_difference(completion.text, output.text)
        if character is not None:
            return self._verdict("text", f"its tokens spell another text, from character {character} on")
        return Verdict("true", checked=self._checked)
