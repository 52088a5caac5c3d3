"""The model that training starts from: its checkpoint, program and tokenizer, without converted weights."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from intact._base.errors import ParameterError
from intact.checkpoints.catalogue.names import resolve
from intact.checkpoints.formats import Checkpoint, open_checkpoint
from intact.executors.base import choose_threads
from intact.models import build_program
from intact.models.program import Program
from intact.receipts.canonical import HashName
from intact.receipts.identity import identify, measure
from intact.receipts.model_digests import ModelDigests
from intact.text import Tokenizer


class Base:
    """A model as the trainer needs it.

    Attributes
    ----------
    checkpoint : Checkpoint
    program : Program
    tokenizer : Tokenizer
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.program: Program = build_program(checkpoint)
        check_differentiable(self.program)
        self.tokenizer = Tokenizer.from_checkpoint(checkpoint)

    @classmethod
    def open(cls, name_or_path: str | os.PathLike[str]) -> Self:
        """Open a model file or folder, or a model known by name.

        Raises
        ------
        FormatError, ModelError
            If the files are damaged, or not a model.
        ParameterError
            If the model has operations without a derivative.
        """
        return cls(open_checkpoint(Path(resolve(name_or_path))))

    @property
    def path(self) -> Path:
        """File or folder of the checkpoint."""
        return self.checkpoint.path

    @cached_property
    def weights_root(self) -> str:
        """The root digest over weights and program, which names the file of packed weights."""
        return measure(self.program, threads=choose_threads(None)).root.hex()

    def digests(self, hash: HashName) -> ModelDigests:  # noqa: A002
        """Return the digests of the model; reads the whole file."""
        return identify(self.checkpoint, self.program, self.tokenizer, hash)[1]

    def close(self) -> None:
        """Close the checkpoint."""
        self.checkpoint.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_differentiable(program: Program) -> None:
    """Raise if training cannot pass gradients through a program.

    Raises
    ------
    ParameterError
        The message names the operations without a derivative.
    """
    if program.is_encoder:
        raise ParameterError(f"training supports decoders; {program.architecture} is an encoder")
    refused = sorted({op.noun for op in program.ops if not op.differentiable()})
    if refused:
        raise ParameterError(
            f"training has no derivative of {', '.join(refused)} ({program.architecture}); it can train decoders "
            "with attention and feed-forward networks"
        )
