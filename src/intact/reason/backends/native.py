"""The native engine as a back end: samples share KV cache pages, and continuations reuse theirs."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from itertools import accumulate, chain, takewhile
from pathlib import Path
from typing import Protocol

import numpy as np

from intact._base.errors import IntactError, ParameterError, SpentError
from intact._base.files import sha256_of
from intact.checkpoints.formats import Checkpoint
from intact.engine.completion import Chunk, Completion, Job, JobOptions, Recorder
from intact.engine.mixes import check_partners
from intact.engine.model import Partner
from intact.engine.request import Event, Finish, Mixing, StreamPrompt
from intact.engine.shared_cache.cache import SharedCache
from intact.engine.shared_cache.request import SharedRequest, SharedText
from intact.engine.shared_cache.workers import write_together
from intact.library import Model
from intact.numerics.sampling import branch_key
from intact.reason.backends.base import Cut, Generation, Heat, Written
from intact.reason.backends.program_cost import ProgramCost
from intact.reason.backends.text_mix import TextMix
from intact.reason.problem import Hidden, Piece, Prompt, State, Top, Why
from intact.reason.thinking import ThinkingMode, ThoughtCap
from intact.receipts.identity import version_of
from intact.text import Tokenizer
from intact.text.stream import Detokenizer
from intact.text.template import DEFAULT_NOW
from intact.text.thinking import PROMPT_TAIL, prompt_mark


class TokenizerBackend:
    """The part of a back end that depends only on our tokenizer, with the queue of texts to extend.

    Parameters
    ----------
    context : int
        Maximum number of tokens of a prompt and its continuation.
    now : datetime
        The time passed to a chat template that needs it.
    thinking : ThinkingMode, optional
        The thinking mode; by default as set by the chat template.

    Raises
    ------
    ParameterError
        If the model does not support this thinking mode.
    """

    _live: Mapping[Generation, object]
    """Generations in progress."""

    def __init__(self, tokenizer: Tokenizer, context: int, now: datetime, thinking: ThinkingMode | None = None) -> None:
        self.tokenizer, self.context, self.now, self.thinking = tokenizer, context, now, thinking
        self._variables = {} if thinking is None else thinking.variables(tokenizer)
        self._waiting: deque[Generation] = deque()
        self._ended: list[Generation] = []
        self._encoded: dict[Prompt | tuple[str, bool], tuple[int, ...]] = {}
        self._words: dict[int, str] = {}
        self._marks: dict[Prompt, str] = {}
        self._digests: dict[Prompt, str] = {}

    @cached_property
    def vocabulary(self) -> str:
        """Digest of the strings of all tokens."""
        digest = hashlib.sha256()
        for token in range(self.tokenizer.size):
            text = self.tokenizer.token_bytes(token)
            digest.update(len(text).to_bytes(4, "little") + text)
        return digest.hexdigest()

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes of a token's text."""
        return self.tokenizer.token_bytes(token) if token < self.tokenizer.size else b""

    def count(self, part: Prompt | Piece) -> int:
        """Return the number of tokens of a prompt or a piece."""
        return len(self._tokens(part))

    @property
    def needs_time(self) -> bool:
        """If true, the chat template needs the time."""
        template = self.tokenizer.chat_template
        return template is not None and template.uses_time

    def render(self, prompt: Prompt) -> str:
        """Return the text that is tokenised for a prompt; raises as `Tokenizer.render_chat` does."""
        if isinstance(prompt, str):
            return prompt
        return self.tokenizer.render_chat(_messages(prompt), now=self.now, **self._variables)

    @property
    def thought_cap(self) -> ThoughtCap | None:
        """The cap on thinking per completion."""
        return None if self.thinking is None else self.thinking.cap(self.tokenizer)

    def spells_control_tokens(self, prompt: Prompt) -> bool:
        """Return true if message contents of a conversation spell control tokens, which are treated as text."""
        return not isinstance(prompt, str) and self.tokenizer.spells_control_tokens(_messages(prompt), {})

    def prompt_digest(self, prompt: Prompt) -> str:
        """Return the digest of a prompt's tokens if its messages do not determine them; otherwise an empty string."""
        if isinstance(prompt, str):
            return ""
        if prompt not in self._digests:  # shared by all samples of a prompt
            is_needed = self.needs_time or self._variables or self.spells_control_tokens(prompt)
            digest = hashlib.sha256(repr(self._tokens(prompt)).encode()).hexdigest() if is_needed else ""
            self._digests[prompt] = digest
        return self._digests[prompt]

    def thinking_mark(self, prompt: Prompt) -> str:
        """Return the marker with which a prompt opens the thinking (`intact.text.thinking.prompt_mark`)."""
        if prompt not in self._marks:
            end = self.tokenizer.decode(list(self._tokens(prompt)[-PROMPT_TAIL:]), skip_special=False)
            self._marks[prompt] = prompt_mark(self.tokenizer.template_source, end)
        return self._marks[prompt]

    def tokens_of(self, state: State) -> list[int]:
        """Return the tokens of a prompt and its continuation."""
        return list(chain.from_iterable(map(self._tokens, (state.prompt, *state.pieces))))

    def likeliest(self, places: Sequence[Sequence[tuple[int, int]]]) -> tuple[Top, ...]:
        """Return the likeliest tokens at each position, as strings."""
        words = self._words
        for token in {token for place in places for token, _ in place} - words.keys():
            words[token] = self.token_bytes(token).decode("utf-8", "replace")
        return tuple([tuple([(words[token], value) for token, value in place]) for place in places])

    def to_written(self, state: State, tokens: tuple[int, ...], logprobs: tuple[int, ...], finish: Finish) -> Written:
        """Decode the tokens that continue a state; return the text with its stop reason."""
        ended = finish == "stop" and tokens and tokens[-1] in self.tokenizer.eos_ids
        why: Why = "end" if ended else finish
        return Written(self._text(state, tokens, why), tokens, logprobs, (), why=why)

    def cut(self, state: State, written: Written, tokens: int, why: Cut) -> Written:
        """Return the first `tokens` tokens of the text generated after a state."""
        shorter = self.to_written(state, written.tokens[:tokens], written.logprobs[:tokens], why)
        return shorter._replace(top=written.top[:tokens], spread=written.spread[:tokens])

    def lengths(self, state: State, tokens: Sequence[int]) -> list[int]:
        """Return the length of the new text after each token that continues a state, counting complete characters."""
        return list(accumulate(map(len, self._parts(self._stream(state), tokens))))

    def start(self, generations: Sequence[Generation]) -> None:
        """Queue texts to extend."""
        self._waiting += generations

    def cancel(self, generations: Sequence[Generation]) -> None:
        """End generations with the text they have now."""
        for generation in generations:
            if generation in self._live:
                self._stop(generation)
            elif generation in self._waiting:
                self._waiting.remove(generation)
                self._end(generation, Written("", (), (), (), why="cancelled"))

    def _stop(self, generation: Generation) -> None:
        """End a generation in progress."""
        raise NotImplementedError

    def _end(self, generation: Generation, written: Written) -> None:
        generation.written = written
        self._ended.append(generation)
        if generation.heat is not None:
            generation.heat.leave(generation.runner, written.why in ("end", "stop"))

    def _written(self, job: Job, sample: int, state: State) -> Written:
        """Return the text that a sample generated after a state."""
        writer = job.writer(sample)
        error = "" if writer.error is None else f"{type(writer.error).__name__}: {writer.error}"
        written = self.to_written(state, tuple(writer.tokens), tuple(writer.logprobs), writer.finish or "cancelled")
        return written._replace(top=self.likeliest(writer.top), error=error, spread=tuple(writer.spreads))

    def _tokens(self, part: Prompt | Piece) -> tuple[int, ...]:
        """Return the tokens of a prompt or piece.

        Raises
        ------
        ParameterError
            If the part is a conversation and the model has no chat template, or it does not fit in the context.
        """
        if isinstance(part, Piece) and part.tokens:
            return part.tokens
        known: Prompt | tuple[str, bool] = (part.text, part.special) if isinstance(part, Piece) else part
        if known not in self._encoded:
            self._encoded[known] = tuple(self._encode(part))
        return self._encoded[known]

    def _encode(self, part: Prompt | Piece) -> list[int]:
        if isinstance(part, Piece):
            return self.tokenizer.encode(part.text, special=part.special, bos=False)
        if isinstance(part, str):
            return self.tokenizer.encode(part, most=self.context)
        variables = {"now": self.now, **self._variables}
        return self.tokenizer.encode_conversation(_messages(part), variables, most=self.context)

    def _text(self, state: State, tokens: tuple[int, ...], why: Why) -> str:
        """Return the text of new tokens; a character split between two pieces belongs to the second."""
        stream = self._stream(state)
        text = "".join(self._parts(stream, tokens[:-1] if why == "uncertain" else tokens))
        return text + (stream.flush() if why in ("end", "unlikely", "context", "error") else "")

    def _stream(self, state: State) -> Detokenizer:
        """Return a detokenizer stream that has consumed the tokens immediately before."""
        before = takewhile(lambda piece: piece.tokens, reversed(state.pieces))
        stream = self.tokenizer.stream()
        self._parts(stream, chain.from_iterable(piece.tokens for piece in reversed(list(before))))
        return stream

    def _parts(self, stream: Detokenizer, tokens: Iterable[int]) -> list[str]:
        """Return the text that each token completes."""
        return [stream.push(token) if token < self.tokenizer.size else "" for token in tokens]


LIVE = 256  # maximum number of samples in the engine at a time; more would only wait there
STEPS = 16  # engine steps before the driver checks its clock


_SHARING = threading.BoundedSemaphore(2)
"""Maximum number of shared caches in this process at a time; each holds another copy of the weights."""


class Watcher(Recorder, Protocol):
    """A recorder that knows the input of the head for each sample's newest token."""

    def head(self, sample: int) -> bytes | None:
        """Return the input of the head; None before the first token."""


class LastInputs:
    """A recorder that keeps only the input of the head."""

    def __init__(self) -> None:
        self._last: dict[int, bytes] = {}

    def watch(self, event: Event) -> None:
        """Record the drawing of a token."""
        self._last[event.sample] = event.head

    def receipt(self, sample: int, completion: Completion) -> None:
        """Do nothing: a single completion has no receipt."""

    def head(self, sample: int) -> bytes | None:
        """Return the input of the head for the sample's newest token."""
        return self._last.get(sample)


class NativeBackend(TokenizerBackend):
    """A model loaded by `intact.load`.

    Parameters
    ----------
    now : datetime
        The time passed to a chat template that needs it; by default a fixed one.
    mix : TextMix, optional
        The mix that completions are sampled from; by default the model's own distribution.
    thinking : ThinkingMode, optional
        The thinking mode; by default as set by the chat template.

    Attributes
    ----------
    interrupted : bool
        Set by another thread: `step` returns after the engine's current step.

    Raises
    ------
    ParameterError
        From `count`, if the prompt is a conversation and the model has no chat template.
    """

    caveats: tuple[str, ...] = ()
    spreads = True

    def __init__(
        self,
        model: Model,
        now: datetime = DEFAULT_NOW,
        mix: TextMix | None = None,
        thinking: ThinkingMode | None = None,
    ) -> None:
        super().__init__(model.tokenizer, model.context, now, thinking)
        if mix is not None:
            check_partners(mix.chosen, len(mix.partners or model.partners))
            if model.adapter:
                raise ParameterError("mixes do not support adapters: load the model without one, or leave out the mix")
        self.model, self.mix, self.interrupted = model, mix, False
        self._live: dict[Generation, tuple[Job, int]] = {}
        self._heats: dict[Heat, dict[int, Generation]] = {}
        self._costs = [ProgramCost(one.program) for one in (model, *self._streams())]

    def _streams(self) -> list[Model | Partner]:
        """Return the model of each additional stream of the mix."""
        if self.mix is None:
            return []
        models: list[Model | Partner] = [self.model, *self.model.partners]
        return [models[number] for number in self.mix.models]

    @property
    def partners(self) -> list[Partner]:
        """The partner models used by the mix."""
        return [one for one in self._streams() if isinstance(one, Partner)]

    @cached_property
    def identity(self) -> str:
        """The model's files as a digest, its profile, weight formats and version of the arithmetic; the mix, if any."""
        executor = self.model.executor
        digest = _digest_of_files(self.model.checkpoint)
        name = f"intact {version_of(executor.profile)} {executor.profile} {executor.bits} {digest}"
        if self.mix is None:
            return name
        mixed = self.mix.to_document([_digest_of_files(one.checkpoint) for one in self.partners])
        return f"{name} {json.dumps(mixed, sort_keys=True)}"

    def operations(self, start: int, count: int) -> int:
        """Return the multiply-adds of all streams (`ProgramCost.of`); a shadow is assumed to be equally long."""
        return sum([cost.of(start, count) for cost in self._costs])

    def hidden(self, state: State, places: Sequence[int]) -> list[bytes]:
        """Return the input of the head after given numbers of generated tokens, in one pass over the text.

        Parameters
        ----------
        places : sequence of int
            Numbers of tokens, ascending, up to `state.length`; tokens after the last are not read.
        """
        tokens = self.tokens_of(state)
        rows = np.array(places, np.int64) + (len(tokens) - state.length - 1)
        found: list[bytes] = []
        with self.model.exclusive() as engine:
            read = tokens[: int(rows[-1]) + 1] if len(rows) else []
            for chunks, _ in engine.prefill(read, adapter=self.model.adapter_number()):
                start = chunks[0].position
                here = rows[(rows >= start) & (rows < start + len(chunks[0].tokens))] - start
                engine.executor.step(chunks, here)
                if len(here):
                    found += [row.tobytes() for row in engine.executor.head_inputs(np.arange(len(here)))]
        return found

    def write_together(self, request: SharedRequest, stop: threading.Event) -> SharedText:
        """Generate one completion with several workers; load another copy of the weights, and free it at the end."""
        if self.mix is not None:
            raise ParameterError("workers that share a cache do not support mixes: leave out one of them")
        while not _SHARING.acquire(timeout=0.1):
            if stop.is_set():
                raise SpentError("the time ran out before the workers could begin")
        try:
            with SharedCache(self.model) as cache:
                return write_together(cache, request, self.operations, stop.is_set)
        finally:
            _SHARING.release()

    def step(self) -> list[Generation]:
        """Run engine steps, at most `STEPS`, until a generation has ended."""
        self._admit()
        for _ in range(STEPS):
            if self._ended or not self._live or self.interrupted:
                break
            with self.model.exclusive() as engine:
                if not engine.step() and not self._ended:
                    raise RuntimeError("the engine has nothing to run, but its requests have not ended")
            self._keep_abreast()
        ended, self._ended = self._ended, []
        return ended

    def under_way(self) -> list[tuple[Generation, int, str]]:
        """Return the generations in progress, with their token counts and the text decoded so far."""
        return [
            (generation, len(writer.tokens), "".join(writer.text))
            for generation, (job, sample) in list(self._live.items())
            if (writer := job.writers.get(sample)) is not None
        ]

    def _stop(self, generation: Generation) -> None:
        job, sample = self._live[generation]
        with self.model.exclusive() as engine:
            engine.cancel(job.request, [sample])

    def _admit(self) -> None:
        """Pass queued texts to the engine, grouping identical ones as samples of one request."""
        while self._waiting and (not self._live or len(self._live) < LIVE):
            group = [self._waiting.popleft()]
            first = group[0]
            if first.heat is None:
                while self._waiting and _alike(first, self._waiting[0]) and len(self._live) + len(group) < LIVE:
                    group.append(self._waiting.popleft())
            else:
                while self._waiting and self._waiting[0].heat is first.heat:  # a race starts as a whole
                    group.append(self._waiting.popleft())
            for part in [group] if first.heat is None else [[runner] for runner in group]:
                self._begin(part)

    def _begin(self, group: list[Generation]) -> None:
        first = group[0]
        try:
            prompt = self.tokens_of(first.state)
            keys = [branch_key(first.parameters.seed, generation.branch) for generation in group]

            def listen(sample: int, piece: Chunk | None) -> None:
                if piece is None:
                    self._finish(group[sample], job, sample, recorder)

            mixing = None if self.mix is None else self._mixing(self.mix, first.state, prompt)
            recorder = self._recorder(group, tuple(prompt), mixing)
            known = [generation.known for generation in group] if first.known else None
            draft = first.heat is None and known is None
            options: JobOptions = {"draft": draft, "listen": listen, "recorder": recorder, "known": known}
            options["mixing"], options["spread"] = mixing, first.spread
            job = self.model.job(prompt, first.parameters, keys, **options)
        except IntactError as error:
            for generation in group:
                self._end(generation, Written("", (), (), (), why="error", error=str(error)))
            return
        if first.heat is not None:
            self._enter(first, job)
        for sample, generation in enumerate(group):
            self._live[generation] = job, sample
        with self.model.exclusive() as engine:
            engine.add(job.request)

    def _mixing(self, mix: TextMix, state: State, prompt: Sequence[int]) -> Mixing:
        """Return the streams of a generation; the text generated so far follows the shadow too."""
        streams = []
        for number in mix.models:
            own = prompt if number else self.tokens_of(replace(state, prompt=mix.shadow_of(state.prompt)))
            streams.append(StreamPrompt(number, np.array(own, np.int32)))
        return Mixing(mix.chosen, tuple(streams))

    def _enter(self, generation: Generation, job: Job) -> None:
        """Make a runner stop at the token at which its race is decided."""
        heat, runner, sink = generation.heat, generation.runner, job.request.sink
        assert heat is not None
        self._heats.setdefault(heat, {})[runner] = generation

        def counted(event: Event) -> Finish | None:
            finish = sink(event)
            late = heat.advance(runner)
            job.request.paused = True  # until all have moved, even if another thread runs steps meanwhile
            if finish is not None:
                heat.leave(runner, finish == "stop")
            return "cancelled" if late and finish is None else finish

        job.request.sink = counted

    def _keep_abreast(self) -> None:
        """Keep all runners of a race at the same token count, and stop those that have reached its end."""
        for heat, runners in list(self._heats.items()):
            for runner in list(heat.live):
                generation = runners[runner]
                if heat.over(runner):
                    self.cancel([generation])
                elif generation in self._live:
                    self._live[generation][0].request.paused = not heat.may_move(runner)
            if not heat.live:
                del self._heats[heat]

    def _recorder(self, group: Sequence[Generation], prompt: tuple[int, ...], mixing: Mixing | None) -> Watcher | None:
        """Return the recorder for generations that share a request."""
        return LastInputs() if group[0].hidden else None

    def _finish(self, generation: Generation, job: Job, sample: int, recorder: Watcher | None) -> None:
        del self._live[generation]
        written = self._written(job, sample, generation.state)
        head = recorder.head(sample) if generation.hidden and recorder is not None else None
        if head is not None:
            written = written._replace(hidden=Hidden(self.identity, head.hex()))
        self._end(generation, written)


def _messages(turns: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    """Return the turns of a conversation in the form that chat templates expect."""
    return [{"role": role, "content": text} for role, text in turns]


def _alike(a: Generation, b: Generation) -> bool:
    return (
        a.heat is b.heat is None
        and a.parameters == b.parameters
        and a.hidden == b.hidden
        and a.spread == b.spread
        and bool(a.known) == bool(b.known)
        and a.state.prompt == b.state.prompt
        and a.state.pieces == b.state.pieces
    )


def _digest_of_files(checkpoint: Checkpoint) -> str:
    """Return the digest of a model's file, or of its folder including configuration and tokenizer."""
    return digest_of(checkpoint.path if checkpoint.format == "gguf" else checkpoint.folder)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a model's file, or of all files in its folder."""
    files = sorted(item for item in path.iterdir() if item.is_file()) if path.is_dir() else [path]
    digests = [sha256_of(file) for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
