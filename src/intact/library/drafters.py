"""Create a loaded model's drafter from the arguments of `load`, including any head or smaller model that it needs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from intact._base.errors import ParameterError
from intact.checkpoints.catalogue import resolve
from intact.checkpoints.formats import Checkpoint, open_checkpoint
from intact.engine.draft.draft_model import DraftModel
from intact.engine.draft.eagle3 import Eagle, EagleRows, WatchedExecutor
from intact.engine.draft.prediction_head import GivenRows, PredictionHead
from intact.engine.drafting import HEADS, Drafting, check_drafter, make_drafting
from intact.engine.model import Partner
from intact.executors.base import Exchanger, Executor
from intact.executors.settings import ExecutorSettings
from intact.library.model import Model
from intact.library.parallel.ranks import Division
from intact.models.eagle3 import EagleHead, build_eagle_head, is_eagle_head
from intact.models.prediction_heads import build_prediction_head
from intact.models.program import Program
from intact.numerics.profiles import parse_profile


class DrafterLoader:
    """Creates a model's drafter, step by step while the model is loaded.

    `check` opens a draft model's files and reads a head's program before the model's weights are read, `make_executor`
    creates the model's executor, and `drafting` the drafter itself.

    Parameters
    ----------
    drafter, draft_model
        As in `load`.
    settings : ExecutorSettings
        Settings for the executors of the model and its heads.
    division : Division
        Division of the model between processes.

    Attributes
    ----------
    head_path : Path, optional
        Folder of a head that is not the model's own, set by `check`.
    """

    def __init__(
        self, drafter: str, draft_model: str | os.PathLike[str] | None, settings: ExecutorSettings, division: Division
    ) -> None:
        check_drafter(drafter, draft_model is not None)
        self._drafter, self._draft_model, self._settings, self._division = drafter, draft_model, settings, division
        self.head_path: Path | None = None
        self._files: Checkpoint | None = None
        self._head: Program | None = None
        self._eagle: EagleHead | None = None

    def check(self, checkpoint: Checkpoint, program: Program) -> None:
        """Open a draft model's files, and build the program of the prediction head that drafts.

        Raises
        ------
        ModelError
            If a file is damaged, or a head would be computed incorrectly or was made for another model.
        ParameterError
            If the model has no head, or heads cannot be combined with other arguments.
        """
        if self._draft_model is not None:
            self._files = open_checkpoint(Path(resolve(self._draft_model)))
            self.head_path = self._files.path if is_eagle_head(self._files) else None
        if (self._drafter == HEADS or self.head_path) and len(self._division.ranks) > 1:
            raise ParameterError(f"prediction heads and {self._division.way}_parallel cannot be combined: choose one")
        if self._drafter == HEADS and self.head_path:
            raise ParameterError("drafter='heads' uses the model's own head, but draft_model names another: choose one")
        if self._drafter == HEADS:
            self._head = build_prediction_head(checkpoint)
            if self._head is None:
                raise ParameterError(
                    f"drafter='heads': {checkpoint.path} has no prediction head that intact supports (those of "
                    "Qwen3-Next, Qwen3.5, DeepSeek V3, GLM-4.5 to 4.7): leave drafter='auto'"
                )
        if self._files is not None and self.head_path:
            self._eagle = build_eagle_head(self._files, program)

    def make_executor(self, program: Program, **options: Any) -> Executor:
        """Return the model's executor, which keeps the rows that a head reads."""
        if self._eagle is None:
            return self._settings.make_executor(program, **options)
        return WatchedExecutor(program, self._eagle.boundaries, self._settings.make_executor, **options)

    def drafting(
        self, model: Partner, load: Callable[[Checkpoint], Model], cache_bytes: int | None, keep: bool
    ) -> Drafting | None:
        """Return the model's drafter, if any.

        Parameters
        ----------
        load : callable
            Loads a smaller model from its open checkpoint.
        cache_bytes : int, optional
            Cap on the bytes of a head's cache.
        keep : bool
            As in `PrefixIndex`.

        Raises
        ------
        ParameterError
            If a smaller model has a different vocabulary.
        """
        vocabulary, trees = model.program.vocabulary, model.executor.trees
        head: PredictionHead | None = None
        other: DraftModel | None = None
        options: dict[str, Any] = {"cache_bytes": cache_bytes, "keep": keep, "trees": trees}
        if self._head is not None:
            given = GivenRows(model.executor.profile)
            options |= {"context": self._head.context, "vocabulary": self._head.vocabulary}
            head = PredictionHead(self._head_executor(model, self._head, given), given, **options)
        if self._eagle is not None:
            rows, program = EagleRows(), self._eagle.program
            options |= {"context": program.context, "vocabulary": vocabulary}
            other = Eagle(self._head_executor(model, program, rows), rows, self._eagle.tokens, **options)
        elif self._files is not None:
            other = _as_drafter(_checked(model, load(self._files)), vocabulary, trees)
        return make_drafting(self._drafter, vocabulary, trees, other, head=head)

    def _head_executor(self, model: Partner, program: Program, given: Exchanger) -> Executor:
        """Return the executor of a head, which may share tensors with the model's files."""
        executor = self._settings.make_executor(program, given)
        if not parse_profile(model.executor.profile).float32:
            model.checkpoint.rest()  # the weights have been converted
        return executor


def _checked(main: Partner, small: Model) -> Model:
    """Return the draft model after checking that its vocabulary matches the main model's; padding is ignored."""
    digest, other = main.tokenizer.vocabulary_digest, small.tokenizer.vocabulary_digest
    if digest != other:
        found = f"{small.tokenizer.size:,} tokens, digest {other[:16]}"
        small.close()
        raise ParameterError(
            f"draft_model: {small.path.name} has a different vocabulary from {main.path.name}: {found}; expected "
            f"{main.tokenizer.size:,}, digest {digest[:16]}: give a smaller model of the same family"
        )
    return small


def _as_drafter(small: Model, vocabulary: int, trees: bool) -> DraftModel:
    """Wrap a loaded model as a drafter for a model with a vocabulary of `vocabulary` tokens."""
    return DraftModel(
        small.executor,
        small.engine.index,
        context=small.context,
        vocabulary=vocabulary,
        trees=trees,
        close=small.close,
    )
