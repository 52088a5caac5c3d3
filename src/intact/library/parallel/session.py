"""A rank's session with rank 0: they check that their results will be the same, then run steps until rank 0 leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, cast, get_args

import intact
from intact._base.errors import IntactError, ModelError, ParameterError, WorkerError
from intact.checkpoints.catalogue.measured import known_digests, state_of
from intact.checkpoints.formats import Checkpoint, open_checkpoint
from intact.executors.base import Executor, choose_threads
from intact.executors.settings import ExecutorSettings
from intact.library.parallel.channel import Channel, FrameKind, choose_timeout
from intact.library.parallel.cut import cut_program
from intact.library.parallel.executor import RankSpoke, serve_rank, tensor_step
from intact.library.parallel.pipeline import LocalStage, divide_layers, stage_step
from intact.library.parallel.prompts import serve_prompts
from intact.library.parallel.ranks import Way
from intact.models import Program, build_program
from intact.models.adapters import STREAM
from intact.numerics.profiles import Profile, parse_profile
from intact.receipts.identity import measure, program_leaf, version_of

_MEMBERS: Final = {
    *("version", "numerics", "profile", "bits", "page_size", "executor", "threads", "shares", "rank"),
    *("way", "path", "state", "program", "weights"),
}


_GREETING: Final = 30.0
"""Number of seconds within which rank 0 must send its greeting."""


def outputs_of(program: Program) -> int:
    """Return the number of logits that a program computes per row."""
    return program.tensors[program.head_weight].shape[0]


def weight_bytes_of(executor: Executor) -> int:
    """Return the bytes of an executor's weights; 0 if the executor does not count them."""
    return cast("int", executor.description.get("weight_bytes", 0))


class Readiness(NamedTuple):
    """A rank's message when it is ready: bytes per page, bytes of its weights, number of logits that it computes."""

    page_bytes: int
    weight_bytes: int
    outputs: int

    def send(self, channel: Channel) -> None:
        """Send the message to rank 0."""
        channel.send_json(FrameKind.READY, self._asdict())

    @classmethod
    def receive(cls, channel: Channel) -> Readiness:
        """Receive a rank's message."""
        fields = channel.receive_json(FrameKind.READY, cls._fields)
        return cls(*(fields.integer(name) for name in cls._fields))


def weights_digest(path: Path, program: Program) -> str:
    """Return a model's digest as used in receipts; the first time, the model's weights are read to compute it."""
    known = known_digests(path)
    return measure(program, "sha256", choose_threads(None)).root.hex() if known is None else str(known["weights"])


class Greeting(NamedTuple):
    """The first frame from rank 0 to another rank.

    Attributes
    ----------
    shares : tuple of int
        Share of the work of each rank.
    program : str
        Digest of the whole program's description.
    weights : str
        Digest of the model, for a rank on another machine; "" for a rank that opens the same files, whose state is
        `state`.
    """

    settings: ExecutorSettings
    way: Way
    shares: tuple[int, ...]
    rank: int = 0
    program: str = ""
    path: str = ""
    state: str = ""
    weights: str = ""

    def send(self, channel: Channel) -> None:
        """Send the greeting, with the versions of this package and of the arithmetic."""
        members = {**self.settings._asdict(), **self._asdict(), "threads": self.settings.threads or 0}
        del members["settings"], members["gpu"]
        versions = {"version": intact.__version__, "numerics": version_of(self.settings.profile)}
        channel.send_json(FrameKind.HELLO, members | versions | {"shares": list(self.shares)})

    @classmethod
    def receive(cls, channel: Channel) -> Greeting:
        """Receive a greeting; reject a different version of this package or of the arithmetic.

        Raises
        ------
        WorkerError, ReceiptError
            If it is malformed, or this process would compute different results.
        """
        fields = channel.receive_json(FrameKind.HELLO, _MEMBERS)
        profile = fields.text("profile")
        parse_profile(profile)
        _check("intact", intact.__version__, fields.text("version"))
        _check("the arithmetic", version_of(profile), fields.text("numerics"))
        shares = fields.integers("shares", 1, 1000, 2)
        settings = ExecutorSettings(
            profile,
            fields.choice("bits", (4, 8)),
            fields.integer("page_size", 16, 1 << 16),
            fields.choice("executor", ("native", "reference")),
            threads=fields.integer("threads", 0, 1024) or None,
        )
        texts = [fields.text(name) for name in ("program", "path", "state", "weights")]
        way = cast("Way", fields.choice("way", get_args(Way)))
        return cls(settings, way, shares, fields.integer("rank", 1, len(shares) - 1), *texts)


def _check(what: str, own: str, wanted: str) -> None:
    if own != wanted:
        raise WorkerError(f"{what} is {own:.80} here but {wanted:.80} at rank 0; they must be the same")


def run_session(channel: Channel, model: Path | None = None) -> None:
    """Run as a rank until rank 0 disconnects; errors are sent to rank 0.

    Parameters
    ----------
    channel : Channel
        Channel to rank 0.
    model : Path, optional
        The model's file or folder; None for the path that rank 0 names, on the same machine.
    """
    executor: Executor | None = None
    try:
        channel.within(_GREETING)
        greeting = Greeting.receive(channel)
        channel.within(choose_timeout())
        checkpoint = open_checkpoint(model or Path(greeting.path))
        program = build_program(checkpoint)
        _check_model(greeting, checkpoint, program, remote=model is not None)
        part = _make_part(channel, greeting, program)
        executor = part.executor
        if not parse_profile(greeting.settings.profile).float32:
            checkpoint.rest()
        Readiness(executor.page_bytes, weight_bytes_of(executor), part.outputs).send(channel)
        part.serve()
    except Exception as error:
        known = isinstance(error, IntactError)
        channel.end_by(error if known else ModelError(f"{type(error).__name__}: {error}"))
    finally:
        channel.close()
        if executor is not None:
            executor.close()


class RankPart(NamedTuple):
    """A rank's work: its executor, the number of logits it computes for rank 0, and the loop that serves rank 0."""

    executor: Executor
    outputs: int
    serve: Callable[[], None]


def _make_part(channel: Channel, greeting: Greeting, program: Program) -> RankPart:
    """Return this rank's part of a program."""
    settings, shares, rank = greeting.settings, greeting.shares, greeting.rank
    if greeting.way == "tensor":
        part = cut_program(program, shares, rank)
        executor = settings.make_executor(part, RankSpoke(channel, rank).exchange)
        return RankPart(
            executor, outputs_of(part), lambda: serve_rank(channel, executor, tensor_step(channel, executor))
        )
    if greeting.way == "prefill":
        executor, root = settings.make_executor(program), bytes.fromhex(greeting.program)
        return RankPart(executor, 0, lambda: serve_prompts(channel, executor, program.context, root))
    stage = LocalStage(program, divide_layers(program, shares)[rank], settings.make_executor)
    step = stage_step(channel, stage, program.buffers[STREAM].width)
    return RankPart(stage.executor, 0, lambda: serve_rank(channel, stage.executor, step))


def _check_model(greeting: Greeting, checkpoint: Checkpoint, program: Program, *, remote: bool) -> None:
    """Raise if the model differs from rank 0's."""
    path = checkpoint.path
    _check(f"the program of {path.name}", program_leaf("sha256", program).hex(), greeting.program)
    if remote:
        _check(f"the digest of {path.name}", weights_digest(path, program), greeting.weights)
    elif greeting.state:
        _check(f"the state of {path.name}", state_of(path) or greeting.state, greeting.state)


def refuse_profile(profile: Profile) -> None:
    """Raise for a profile that needs whole matrices.

    Raises
    ------
    ParameterError
        If the profile needs whole matrices.
    """
    sparsity = parse_profile(profile).sparsity
    if sparsity is not None and sparsity.rule == "wina":
        raise ParameterError(
            f"tensor parallelism does not support profiles that weigh inputs by whole matrices, got {profile}"
        )
