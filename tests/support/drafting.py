"""What drafters learn from, made of plain rows, and models that draft."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import intact
from intact.engine.draft.base import Observed
from intact.engine.draft.draft_model import DraftModel


def observed(
    tokens: Sequence[int], candidates: Sequence[Sequence[int]], before: Sequence[Sequence[int]] = ()
) -> Observed:
    """Rows with candidates one nat apart; by default nothing stands before a token."""
    rows = np.array(candidates, np.int32)
    context = np.array(before, np.int32) if len(before) else np.full((len(tokens), 2), -1, np.int32)
    gaps = np.tile(np.arange(rows.shape[1], dtype=np.int64) << 16, (len(rows), 1))
    return Observed(np.array(tokens, np.int32), context, rows, gaps)


def draft_model(path: Path, vocabulary: int, trees: bool = True, **options: Any) -> DraftModel:
    """A model as a drafter, on one thread and with small pages, as `intact.load(draft_model=...)` makes it."""
    small = intact.load(path, threads=1, page_size=16, drafter="off", **options)
    return DraftModel(
        small.executor,
        small.engine.index,
        context=small.context,
        vocabulary=vocabulary,
        trees=trees,
        close=small.close,
    )
