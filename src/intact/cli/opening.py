"""The model of `run` and `chat`: already in memory in the same user's server, or loaded in this process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from intact.checkpoints.catalogue.measured import measured_digests
from intact.cli import fetch
from intact.cli.loading import LoadOptions
from intact.cli.options import Advanced
from intact.cli.output import note
from intact.cli.warm import WarmModel, find_warm
from intact.text.template import prepare

NoServerOption = Annotated[
    bool,
    typer.Option(
        "--no-server",
        help="Load the model here, even if a running intact serve has it in memory.",
        rich_help_panel=Advanced(),
    ),
]
VerboseOption = Annotated[
    bool,
    typer.Option(
        "-v",
        "--verbose",
        help="Print to stderr whether a server answered or the model was loaded here.",
        rich_help_panel=Advanced(),
    ),
]


@dataclass(frozen=True)
class OpenedModel:
    """A model that is ready to answer.

    Attributes
    ----------
    model : intact.Model or WarmModel
        The model, in this process or in a server.
    path : Path
        Its file or folder.
    profile : str
        The arithmetic profile.
    """

    model: Any
    path: Path
    profile: str

    def digests(self) -> dict[str, Any]:
        """Return the model's digests as recorded in receipts; the first call for a model reads its weights."""
        if isinstance(self.model, WarmModel):
            return self.model.digests
        return measured_digests(self.path, self._measure)

    def _measure(self) -> dict[str, Any]:
        from intact.receipts.identity import digests_of

        return digests_of(self.model).to_document()


def open_model(
    name: str,
    options: LoadOptions,
    *,
    prefill: str | None = None,
    use_server: bool = True,
    verbose: bool = False,
    has_template: bool = True,
    mixed: bool = False,
    partners: Sequence[str] = (),
) -> OpenedModel:
    """Use a model in a server's memory if possible, or else load it.

    Parameters
    ----------
    options, prefill
        Loading options; any other than profile and codec make the model load in this process.
    use_server : bool
        If false, load the model in this process.
    verbose : bool
        If true, report which of the two was used.
    has_template : bool
        If true, a chat template will be rendered; its process is started while the model loads.
    mixed : bool
        If true, tokens are sampled from a mix, which servers do not support for these commands.
    partners : sequence of str
        The other models of the mix.
    """
    path, arguments = fetch.locate(name), options.loading

    def load() -> Any:
        if has_template:
            prepare()
        own = options.first | {"prefill": prefill}
        if partners:
            own["partners"] = [fetch.locate(one) for one in partners]
        return fetch.load(name, **arguments, **own)

    served = {"profile", "kv"}  # options that a server's model can match
    named = [one for one in options.given if one not in served | {"prefix_cache_bytes"}]
    reasons = {
        "--no-server": not use_server,
        **{f"--{one.replace('_', '-')}": True for one in named},
        "--prefill": prefill is not None,
        "--mix": mixed,
        "INTACT_ISA": "INTACT_ISA" in os.environ,
        "intact lock": bool(fetch.observers),
    }
    if given := [name for name, counts in reasons.items() if counts]:
        warm, remark = None, f"the model is loaded here, because of {' and '.join(given)}"
    else:
        warm, remark = find_warm(path, options.coded_profile, load)
    if verbose:
        note(remark)
    return OpenedModel(warm or load(), path, options.coded_profile)
