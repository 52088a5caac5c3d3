"""What drafters learn from, made of plain rows."""

from collections.abc import Sequence

import numpy as np

from intact.engine.draft.base import Observed


def observed(
    tokens: Sequence[int], candidates: Sequence[Sequence[int]], before: Sequence[Sequence[int]] = ()
) -> Observed:
    """Rows with candidates one nat apart; by default nothing stands before a token."""
    rows = np.array(candidates, np.int32)
    context = np.array(before, np.int32) if len(before) else np.full((len(tokens), 2), -1, np.int32)
    gaps = np.tile(np.arange(rows.shape[1], dtype=np.int64) << 16, (len(rows), 1))
    return Observed(np.array(tokens, np.int32), context, rows, gaps)
