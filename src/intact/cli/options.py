"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import typer

from intact.catalogue import CATALOGUE, find


def complete_model(incomplete: str) -> Iterator[tuple[str, str]]:
    """Offer the catalogue's names; where none fits, the shell offers files."""
    for name in CATALOGUE:
        if name.startswith(incomplete):
            yield name, "here" if find(name) else "to pull"


Profile = Literal["int8", "fp32"]

ProfileOption = Annotated[
    Profile,
    typer.Option("--profile", help="Arithmetic: int8 is fast, fp32 the yardstick. Each gives the same bits anywhere."),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="By default all cores. They change the speed alone.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
MaxTokensOption = Annotated[int, typer.Option("--max-tokens", help="Tokens to generate at most.")]
TemperatureOption = Annotated[
    float, typer.Option("--temperature", help="0: the likeliest token; 1: sample as trained.")
]
TopPOption = Annotated[float, typer.Option("--top-p", help="Sample from the likeliest that hold this probability.")]
TopKOption = Annotated[int, typer.Option("--top-k", help="Sample from this many likeliest tokens; 0: all.")]
MinPOption = Annotated[float, typer.Option("--min-p", help="Leave out those below this share of the likeliest.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Another seed, another sample; the same seed, the same bits.")]
StopOption = Annotated[
    list[str] | None, typer.Option("--stop", help="End before this text; may be given again.", show_default=False)
]
SystemOption = Annotated[
    str | None, typer.Option("--system", help="System message, before the prompt.", show_default=False)
]
