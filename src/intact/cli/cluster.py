"""Options for commands that distribute their work over a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from intact._base.errors import ParameterError
from intact.cli.options import MACHINES
from intact.cli.output import note, spinner

if TYPE_CHECKING:
    from intact.cli.loading import ModelOptions
    from intact.evaluate.cluster.pool import Pool


@dataclass(frozen=True)
class ClusterOptions:
    """A cluster and its number of workers; neither changes any result."""

    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Ray cluster to run on: auto, HOST:PORT, or local.",
            rich_help_panel=MACHINES,
            show_default=False,
        ),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="Number of workers; by default one per machine.",
            rich_help_panel=MACHINES,
            show_default=False,
        ),
    ] = None

    def check(self, models: ModelOptions) -> None:
        """Raise, before any work, if options cannot be combined, Ray is missing, or the cluster does not respond."""
        if self.ray is None:
            if self.workers is not None:
                raise ParameterError("--workers needs --ray")
            return
        from intact.evaluate.cluster.connection import check_cluster

        for name in models.first:
            if name not in ("weights_memory", "drafter", "draft_model"):
                option = name.replace("_", "-")
                raise ParameterError(
                    f"--{option} cannot be combined with --ray: each of its workers loads the models by itself"
                )
        check_cluster(self.ray)

    @contextmanager
    def opened(
        self, backends: Mapping[str, Any], models: ModelOptions, journals: Path | None = None, **loading: Any
    ) -> Iterator[Pool | None]:
        """Yield a pool of workers with the back ends' models; None without a cluster.

        Parameters
        ----------
        models : ModelOptions
            Loading options of the back ends' models.
        journals : Path, optional
            Folder for all workers' results.
        loading
            Further arguments of `intact.load`.
        """
        if self.ray is None:
            yield None
            return
        from intact.cli import fetch
        from intact.evaluate.cluster.models import ship
        from intact.evaluate.cluster.pool import opened_pool
        from intact.reason.backends.native import NativeBackend

        for name, backend in backends.items():
            if not isinstance(backend, NativeBackend):
                raise ParameterError(f"{name} is an endpoint, but a cluster needs local models")
        with spinner("digesting the models' files"):
            others = {} if models.draft_model is None else {"draft_model": fetch.locate(models.draft_model)}
            first = {name: value for name, value in models.first.items() if name not in others}
            shipments = {
                name: ship(backend.model.path, models.loading | loading | ({} if i else first), None if i else others)
                for i, (name, backend) in enumerate(backends.items())
            }
        backend = next(iter(backends.values()))
        given = {"now": backend.now, "thinking": backend.thinking}
        with opened_pool(self.ray, shipments, count=self.workers, journals=journals, **given) as pool:
            yield pool
            for machine, why in pool.refused.items():
                note(f"the machine {machine.address} was not used: {why}")
