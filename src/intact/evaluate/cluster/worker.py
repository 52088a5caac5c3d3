"""Workers: actors that load the models once and then process parts of jobs, several concurrently on one engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from intact._base.errors import WorkerError
from intact.evaluate.cluster.journals import RemoteJournals
from intact.evaluate.cluster.models import Shipment, received, with_others
from intact.library import Model, load
from intact.reason.backends.base import Backend
from intact.reason.backends.native import NativeBackend
from intact.reason.driving.journal import JournalFolder
from intact.reason.thinking import ThinkingMode
from intact.text.template import DEFAULT_NOW


class ClusterJob(Protocol):
    """A job with many items, such as the problems of a task. It is pickled once and sent to each worker."""

    def refusal(self, backends: Mapping[str, Backend]) -> str:
        """Return why a worker with these models would compute something else; an empty string if it would not."""
        ...

    def run(
        self, backends: Mapping[str, Backend], items: Sequence[Any], journals: JournalFolder | None
    ) -> Iterator[tuple[int, Any]]:
        """Process items, and yield the index and the result of each as it completes."""
        ...


class Resources(NamedTuple):
    """Resources that the workers of a pool share: models, file and journal actors, and settings of chat templates."""

    shipments: Mapping[str, Shipment]
    files: Any
    keeper: Any = None
    now: datetime = DEFAULT_NOW
    thinking: ThinkingMode | None = None


class Worker:
    """An actor with the models of a pool; every thread that processes a part of a job has its own back ends."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._models: dict[str, Model] = {}

    def load(self) -> None:
        """Load the models, after pulling missing ones by their digests."""
        shipments = self._resources.shipments
        paths = received(with_others(shipments), self._resources.files)
        for name, shipment in shipments.items():
            others: dict[str, Any] = {option: paths[name, option] for option in shipment.models}
            self._models[name] = load(paths[name], **shipment.options, **others)

    def beat(self) -> None:
        """Answer a heartbeat."""

    def refusal(self, job: ClusterJob) -> str:
        """Return why this worker would compute something other than the job states, or an empty string."""
        return job.refusal(self._backends())

    def run(self, job: ClusterJob, part: Sequence[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
        """Process a part of a job, items with their indices; yield indices and results as they complete."""
        keeper = self._resources.keeper
        journals = None if keeper is None else RemoteJournals(keeper)
        for place, result in job.run(self._backends(), [item for _, item in part], journals):
            yield part[place][0], result

    def _backends(self) -> dict[str, Backend]:
        if not self._models:
            raise WorkerError("this worker has not loaded its models")
        now, thinking = self._resources.now, self._resources.thinking
        return {name: NativeBackend(model, now, thinking=thinking) for name, model in self._models.items()}
