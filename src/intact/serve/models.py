"""The server's models: loaded when first requested, unloaded when other models need their memory, or when idle."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import intact
from intact._base.errors import IntactError, ParameterError
from intact._base.memory import give_back
from intact._base.suggest import unknown_name
from intact.checkpoints.catalogue import resolve
from intact.checkpoints.catalogue.measured import remember_digests, state_of
from intact.checkpoints.formats import model_files
from intact.engine.mixes import ChosenMix, check_partners
from intact.executors.names import ExecutorName
from intact.library import Model
from intact.measure.bench.tuned import load_arguments
from intact.models.adapters import weights_file
from intact.numerics import VERSION
from intact.numerics.profiles import Profile
from intact.receipts.identity import digests_of
from intact.serve.admission import AdmissionControl, full
from intact.serve.errors import ApiError, as_api_error, without_folder
from intact.serve.loading import LoadingProgress
from intact.serve.requests import MIX
from intact.serve.settings import ServerSettings

_LOG = logging.getLogger("intact.serve")
OVERHEAD = 1.1
"""Memory of a loaded model excluding its cache, as a multiple of its file size (docs/engine.md, "Memory")."""
ADAPTER = 4.0
"""Memory of an adapter, as a multiple of its file size: float32 values plus codes in blocks of 32. For files of 16-bit
floats, the factor is 3.8 at rank 8 and 2.6 at rank 32; for float32 files, half of that.
"""
COMPILING = 2
"""Number of constraints compiled concurrently."""
NAME_CHARACTERS = 256
"""Maximum length of a name other than the model's own (`ServerSettings.any_name`), since replies repeat it."""
RETRY_AFTER = 5.0
"""Seconds after which a client should retry if too many requests wait for a model to load."""


@dataclass(frozen=True)
class Loading:
    """Arguments of `intact.load`."""

    profile: Profile = "int8"
    threads: int | None = None
    cache_bytes: int | None = None
    prefix_cache: bool | Path = True
    prefix_cache_bytes: int | None = None
    drafter: str | None = None
    draft_model: Path | None = None
    adapters: Mapping[str, Path] = field(default_factory=dict)
    """Adapters of the first model, each served as a model under its own name."""
    partners: Mapping[str, Path] = field(default_factory=dict)
    """Partner models for mixes in requests to the first model, in order (docs/mixing.md)."""
    tensor_parallel: int | str = 1
    """Number of processes per model for tensor parallelism; each loads its rows of every matrix."""
    pipeline_parallel: int | str = 1
    """Number of processes per model for pipeline parallelism; each loads some of the layers."""
    prefill: str | None = None
    """Process that computes prompts for the only model."""
    weights_memory: int | None = None
    """Memory limit for each model's weights."""
    executor: ExecutorName = "native"
    gpu_memory: int | None = None
    """Memory limit of the GPU for each model."""


@dataclass(eq=False)
class Served:
    """A model and its state.

    Attributes
    ----------
    fingerprint : str
        Everything that a completion depends on apart from its request: version of the arithmetic, profile, root of the
        weights. Empty until the model is first loaded.
    users, used : int, float
        Number of requests using it, and time of the last use.
    coming : int
        Number of requests that wait for its memory, or are queued after another request that does.
    digests : dict
        Its digests as stated in receipts, once it has been loaded.
    need : int
        Approximate memory in bytes.
    failure : str
        Error of the last attempt to load it.
    loading : Task or None
        The task that loads it, which continues even if all clients disconnect.
    progress : LoadingProgress or None
        The progress of that task.
    unloading : TimerHandle or None
        The timer that unloads it unless it is used first.
    """

    name: str
    path: Path
    admission: AdmissionControl
    created: int = 0
    model: Model | None = None
    fingerprint: str = ""
    digests: dict[str, Any] = field(default_factory=dict)
    users: int = 0
    used: float = 0.0
    coming: int = 0
    need: int = 0
    failure: str = ""
    loading: asyncio.Task[None] | None = None
    progress: LoadingProgress | None = None
    unloading: asyncio.TimerHandle | None = None
    compiling: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(COMPILING))

    @property
    def status(self) -> str:
        """One of the words loaded, loading, failed or unloaded."""
        if self.model is not None:
            return "loaded"
        return "loading" if self.loading is not None else "failed" if self.failure else "unloaded"

    @property
    def requests(self) -> dict[str, int]:
        """The numbers of running requests, and of requests waiting for admission or for the model to be loaded."""
        running = self.admission.running
        waiting = self.coming + (self.admission.waiting if self.model is not None else self.users)
        return {"running": running, "waiting": waiting}

    @property
    def loaded(self) -> Model:
        """The loaded model; only for holders of a lease."""
        assert self.model is not None
        return self.model

    def adapted(self, name: str) -> Served:
        """Return the model with one of its adapters, as served; only for holders of a lease."""
        model = self.loaded.adapted(name)
        return replace(self, name=name, model=model, **_identity(model))

    def mixing(self, chosen: ChosenMix | None) -> Served:
        """Return the model as served to a request with a mix: its fingerprint covers the partners too.

        Raises
        ------
        ApiError
            400, if it has too few partners, or the request names an adapter.
        """
        if chosen is None:
            return self
        model = self.loaded
        if model.adapter:
            raise ApiError(400, "mixes do not support adapters: name the model itself", MIX, "unsupported")
        try:
            check_partners(chosen, len(model.partners))
        except IntactError as error:
            raise as_api_error(error, (), MIX) from error
        taken = [model.partners[number - 1] for number in chosen.models if number]
        roots = [digests_of(partner).to_document()["weights"][:16] for partner in taken]
        return replace(self, fingerprint="+".join([self.fingerprint, *roots]))


class Models:
    """Models by name, under a common memory limit.

    Parameters
    ----------
    paths : mapping of str to str or path
        For each name, a model name as `intact.load` takes it, or a path.
    loading : Loading
        Loading arguments; with a memory limit, the KV cache takes a quarter of it by default.

    A request for a model that does not fit waits until others are idle; later requests, for any model, queue behind it,
    so a model in constant use cannot block others forever.
    """

    def __init__(self, paths: Mapping[str, str | PathLike[str]], loading: Loading, settings: ServerSettings) -> None:
        if not paths:
            raise ParameterError("there are no models to serve")
        if settings.memory_bytes is not None and loading.cache_bytes is None:
            loading = replace(loading, cache_bytes=max(1, settings.memory_bytes // 4))
        self._loading, self._memory, self._most = loading, settings.memory_bytes, settings.waiting
        self._idle = settings.unload_seconds
        self._running = settings.running
        self._was_unloaded = False
        self.served: dict[str, Served] = {}
        for name, place in paths.items():
            self.add(name, resolve(place))
        if taken := [name for name in loading.adapters if name in self.served]:
            raise ParameterError(f"{taken[0]!r} is the name of a model; give the adapter a different one")
        settings.check_names(self.names)
        self.any_name = settings.any_name
        self._lock, self._released = asyncio.Lock(), asyncio.Event()

    @property
    def first(self) -> str:
        """The name of the default model."""
        return next(iter(self.served))

    @property
    def names(self) -> tuple[str, ...]:
        """The names that clients may request: the models, and the first model's adapters."""
        return (*self.served, *self.adapters)

    @property
    def adapters(self) -> Mapping[str, Path]:
        """The first model's adapters, by name."""
        return self._loading.adapters

    @property
    def partners(self) -> Mapping[str, Path]:
        """The partner models for mixes of the first model, by name."""
        return self._loading.partners

    @property
    def ready(self) -> bool:
        """If true, requests can be answered: a model has loaded, or the first one failed but others may still load."""
        served = list(self.served.values())
        others_may = bool(served[0].failure) and not all(one.failure for one in served)
        return others_may or any(one.fingerprint for one in served)

    def __contains__(self, name: object) -> bool:
        """Return true if clients may request a name."""
        return name in self.names or (self.any_name and len(str(name)) <= NAME_CHARACTERS)

    def add(self, name: str, path: Path) -> None:
        """Serve a model under a new name; it is loaded when first requested."""
        admission = AdmissionControl(1, self._running, self._most)
        self.served[name] = Served(name, path, admission, int(path.stat().st_mtime))

    def find(self, name: str) -> Served:
        """Return the model with this name; an adapter's name gives the model that it belongs to.

        Raises
        ------
        ApiError
            404, if there is no such model.
        """
        if name not in self:
            message = unknown_name(f"no model named {name!r:.200}", name, self.names)
            raise ApiError(404, message, "model", "model_not_found")
        return self.served.get(name) or self.served[self.first]

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncIterator[Served]:
        """Load a model if necessary, and keep it loaded until the block ends.

        Raises
        ------
        ApiError
            404, if there is no such model; 429, if too many requests wait for it; 503, if it cannot be loaded.
        """
        served = self.find(name)
        await self._enter(served)
        try:
            if served.loading is not None:
                await asyncio.shield(served.loading)
            yield served.adapted(name) if name in self.adapters else served
        finally:
            served.users -= 1
            self._left(served)
            self._released.set()

    def _left(self, served: Served) -> None:
        """Record that a model was used until now, and restart its idle timer, if any."""
        served.used = time.monotonic()
        if served.unloading is not None:
            served.unloading.cancel()
            served.unloading = None
        if self._idle is not None and not served.users:
            loop = asyncio.get_running_loop()
            served.unloading = loop.call_later(self._idle, self._unload_unused, served)

    def _unload_unused(self, served: Served) -> None:
        served.unloading = None
        if not served.users and served.loading is None:  # otherwise its users or loader restart the timer
            self.drop(served, f"unused for {self._idle:g} s")
            asyncio.get_running_loop().run_in_executor(None, give_back)

    async def _enter(self, served: Served) -> None:
        """Register as a user of a model that is loaded or being loaded."""
        waiting = served.coming + (0 if served.loading is None else served.users)
        if waiting > self._most:  # including the one that the others wait for
            raise full(waiting, RETRY_AFTER)
        served.coming += 1
        try:
            async with self._lock:
                if served.model is None and served.loading is None:
                    with _load_errors(served):
                        served.need = self._need(served)
                    while not self._make_room(served):
                        self._released.clear()
                        await self._released.wait()
                    served.loading = asyncio.create_task(self._load(served))
                served.users += 1
        finally:
            served.coming -= 1

    async def _load(self, served: Served) -> None:
        began = time.monotonic()
        served.progress = LoadingProgress()
        try:
            with _load_errors(served):
                model, identity = await asyncio.to_thread(self._open, served)
        finally:
            served.loading = served.progress = None
            self._released.set()  # loading may have failed, or all clients may have disconnected
        served.digests, served.fingerprint = identity["digests"], identity["fingerprint"]
        pool = model.engine.pool
        served.admission.capacity = pool.capacity * pool.page_size
        served.model, served.failure = model, ""
        self._left(served)
        _log_loaded(served, time.monotonic() - began)

    def _open(self, served: Served) -> tuple[Model, dict[str, Any]]:
        assert served.progress is not None
        if self._was_unloaded:
            self._was_unloaded = False
            give_back()  # before the memory is needed
        path, loading = served.path, self._loading
        state = state_of(path)
        first = served.name == self.first
        model = intact.load(
            path,
            loading.profile,
            cache_bytes=loading.cache_bytes,
            prefix_cache=loading.prefix_cache,
            prefix_cache_bytes=loading.prefix_cache_bytes,
            tensor_parallel=loading.tensor_parallel,
            pipeline_parallel=loading.pipeline_parallel,
            prefill=loading.prefill,
            weights_memory=loading.weights_memory,
            executor=loading.executor,
            gpu_memory=loading.gpu_memory,
            adapters=loading.adapters if first else {},
            partners=list(loading.partners.values()) if first else (),
            progress=served.progress.weights,
            **load_arguments(path, threads=loading.threads, drafter=loading.drafter, draft_model=loading.draft_model),
        )
        for name in model.adapters:
            digests_of(model.variant(name))  # reads the weights now, so that requests need not
        for partner in model.partners:
            digests_of(partner)
        digests_of(model, progress=served.progress.digests)
        identity = _identity(model)
        remember_digests(path, state, identity["digests"])
        return model, identity

    def _need(self, served: Served) -> int:
        """Estimate the memory in bytes that a model needs, including cache, draft model, partners and adapters."""
        loading, first = self._loading, served.name == self.first
        paths = [served.path] if loading.draft_model is None else [served.path, loading.draft_model]
        partners = loading.partners.values() if first else ()  # they share the model's cache
        sizes = [int(OVERHEAD * sum(item.stat().st_size for item in model_files(one))) for one in (*paths, *partners)]
        if loading.weights_memory is not None:
            sizes[0] = min(sizes[0], loading.weights_memory)
        sizes += [int(ADAPTER * _adapter_bytes(one)) for one in loading.adapters.values()] if first else []
        return sum(sizes) + len(paths) * (loading.cache_bytes or 0)

    def _make_room(self, served: Served) -> bool:
        """Unload idle models, least recently used first, until there is room; return false if there is not."""
        if self._memory is None:
            return True
        if served.need > self._memory:
            message = f"the model {served.name} needs {served.need:,} bytes, but models may use only {self._memory:,}"
            served.failure = message
            raise ApiError(503, message, "model", "model_too_large")
        there = [other for other in self.served.values() if other is not served and (other.model or other.loading)]
        taken = sum(other.need for other in there)
        for other in sorted(there, key=lambda other: other.used):
            if taken + served.need <= self._memory:
                break
            if other.model and not other.users:
                taken -= other.need
                self.drop(other, f"{served.name} needs its memory")
        return taken + served.need <= self._memory

    def drop(self, served: Served, why: str) -> None:
        """Unload a model; `why` goes to the log."""
        model, served.model = served.model, None
        if model is not None:
            with model.exclusive() as engine:  # cancelled work may still be in a step
                engine.close()
            model.close()
            self._was_unloaded = True
            _LOG.info("%(event)s %(model)s: %(why)s", {"event": "unloaded", "model": served.name, "why": why})

    async def close(self) -> None:
        """Unload all models."""
        self._idle = None
        for served in self.served.values():
            if served.unloading is not None:
                served.unloading.cancel()
        loading = [served.loading for served in self.served.values() if served.loading is not None]
        await asyncio.gather(*loading, return_exceptions=True)
        for served in self.served.values():
            self.drop(served, "the server is shutting down")


def _adapter_bytes(path: Path) -> int:
    """Return the bytes of an adapter's weights in its file; 0 if the file is missing, which loading then rejects."""
    place = path if path.exists() else Path(str(path).rpartition(":")[0])  # a factor follows a colon
    file = weights_file(place) if place.is_dir() else place
    return file.stat().st_size if file is not None and file.is_file() else 0


def _identity(model: Model) -> dict[str, Any]:
    """Return a model's digests and the fingerprint of its answers, as in `Served`."""
    digests = digests_of(model).to_document()
    fingerprint = f"intact-{VERSION}-{model.executor.profile}-{digests['weights'][:16]}"
    return {"digests": digests, "fingerprint": fingerprint}


def _log_loaded(served: Served, seconds: float) -> None:
    model, description = served.loaded, served.loaded.executor.description
    note = {
        "event": "loaded",
        "model": served.name,
        "seconds": round(seconds, 2),
        "bytes": description["weight_bytes"],
        "tier": description["tier"],
        "context": model.context,
    }
    text = "%(event)s %(model)s in %(seconds)s s: %(bytes)s bytes of weights, tier %(tier)s, context %(context)s"
    _LOG.info(text, note)


@contextmanager
def _load_errors(served: Served) -> Iterator[None]:
    try:
        yield
    except (IntactError, OSError, MemoryError) as error:
        message = f"the model {served.name} cannot be loaded: {error}"
        _LOG.error("%s", message)
        served.failure = without_folder(message, served.path.parent)
        raise ApiError(503, served.failure, "model", "model_broken") from error
