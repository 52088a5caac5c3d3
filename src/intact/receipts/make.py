"""Make receipts during generation: a recorder collects every token and the head input before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast, get_args

from intact._base.errors import ParameterError
from intact.engine.sampling import constraints
from intact.engine.sampling.parameters import SamplingParameters
from intact.receipts.canonical import HASHES, HashName
from intact.receipts.decoding import Decoding
from intact.receipts.document import Finish, Header, Output, Receipt, first_link, next_link
from intact.receipts.identity import digests_of, numerics_of
from intact.receipts.request import AnswerRequest, Branch
from intact.receipts.source import PromptSource

if TYPE_CHECKING:
    from intact.engine.completion import Completion
    from intact.engine.model import LoadedModel, Partner
    from intact.engine.request import Event

IN_A_ROW: Final = 64
"""Number of tokens whose links are computed together; until then, their head inputs are kept, one or two KB each."""


class Chain:
    """The chain of one sample so far, with log-probabilities.

    Links are computed in batches: after a step, which reads all weights, the CPU caches contain nothing that links
    need, and computing them one by one would take several times as long.

    Attributes
    ----------
    head : bytes
        The input of the head before the newest token.
    """

    def __init__(self, header: Header) -> None:
        self.header, self.head = header, b""
        self.logprobs: list[int] = []
        self._links, self._last = bytearray(), first_link(header.hash, header.digest)
        self._waiting: list[Event] = []

    def add(self, event: Event) -> None:
        """Add a token."""
        self.head = event.head
        self.logprobs.append(event.logprob)
        self._waiting.append(event)
        if len(self._waiting) == IN_A_ROW:
            self._link()

    @property
    def links(self) -> bytes:
        """The links of all tokens so far, concatenated."""
        self._link()
        return bytes(self._links)

    def _link(self) -> None:
        for event in self._waiting:
            self._last = next_link(self.header.hash, self._last, event.token, event.head)
            self._links += self._last
        self._waiting.clear()


class ChainRecorder:
    """A recorder that keeps a chain for each sample of a request.

    Parameters
    ----------
    header_of : callable
        Returns the header of a sample's receipt; called at the sample's first token.
    logprobs : bool
        If true, receipts include log-probabilities.

    Attributes
    ----------
    chains : dict of int to Chain
        The chains of the samples that have at least one token.
    """

    def __init__(self, header_of: Callable[[int], Header], logprobs: bool = False) -> None:
        self._header_of, self._logprobs = header_of, logprobs
        self.chains: dict[int, Chain] = {}

    def watch(self, event: Event) -> None:
        """Add a token to its sample's chain."""
        chain = self.chains.get(event.sample)
        if chain is None:
            chain = self.chains[event.sample] = Chain(self._header_of(event.sample))
        chain.add(event)

    def receipt(self, sample: int, completion: Completion) -> Receipt | None:
        """Return the receipt of a sample; None if the sample was truncated."""
        chain = self.chains.get(sample)
        if chain is None or completion.finish not in get_args(Finish):
            return None
        logprobs = tuple(chain.logprobs) if self._logprobs else None
        output = Output(completion.tokens, cast(Finish, completion.finish), completion.text, logprobs)
        return Receipt(chain.header, output, chain.links)


def header_of(
    model: LoadedModel | Partner,
    prompt: tuple[int, ...],
    parameters: SamplingParameters,
    branch: Branch,
    source: PromptSource | None = None,
    hash: HashName = "sha256",  # noqa: A002
    decoding: Decoding | None = None,
) -> Header:
    """Return the header of an answer's receipt; the first call computes the model's digests."""
    compiler = constraints.compiler() if parameters.constraint is not None else None
    request = AnswerRequest(prompt, parameters, branch, compiler, source=source, decoding=decoding)
    return Header(digests_of(model, hash), numerics_of(model), request, hash)


def wanted_hash(receipt: object) -> HashName | None:
    """Return the hash selected by the `receipt` argument of `generate`: False, True (SHA-256) or the name of a hash.

    Raises
    ------
    ParameterError
        If the argument is anything else.
    """
    if isinstance(receipt, bool):
        return HASHES[0] if receipt else None
    if receipt not in HASHES:
        raise ParameterError(f"receipt must be True, False or one of {', '.join(HASHES)}, got {receipt!r:.60}")
    return receipt
