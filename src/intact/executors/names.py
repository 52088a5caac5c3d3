"""The names of executors."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

ExecutorName: TypeAlias = Literal["native", "wgpu", "auto", "reference"]
EXECUTORS: Final[tuple[ExecutorName, ...]] = get_args(ExecutorName)
