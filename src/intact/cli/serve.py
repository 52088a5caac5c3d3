"""``intact serve``: serve models through an OpenAI-compatible API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from intact._base.errors import ParameterError
from intact._base.packages import check_installed
from intact.checkpoints.catalogue import DEFAULT, HubName
from intact.cli import fetch
from intact.cli.options import (
    MEMORY,
    Advanced,
    CacheOption,
    DrafterOption,
    DraftModelOption,
    ExecutorOption,
    GpuMemoryOption,
    KvOption,
    PipelineParallelOption,
    PrefillOption,
    PrefixCacheBytesOption,
    PrefixCacheOption,
    ProfileOption,
    TensorParallelOption,
    ThreadsOption,
    WeightsMemoryOption,
    as_bytes,
    coded,
    complete_model,
    pair,
    prefix_cache_options,
)
from intact.serve import PACKAGES
from intact.serve.settings import ServerSettings, read_keys

if TYPE_CHECKING:
    from intact.evaluate.calibrated import CalibrationRun
    from intact.serve.models import Loading
    from intact.serve.replicas.scaling import FleetSize
    from intact.serve.server import EndingServer

EXAMPLES = """\
The default model, only for this machine
  intact serve
Two models; clients choose one by name
  intact serve qwen3-0.6b small=./model.gguf --memory 4G
With a smaller model for contrastive decoding, on request ("intact": {"mix": "contrastive"})
  intact serve qwen2.5-coder-1.5b-instruct --with amateur=qwen2.5-coder-0.5b-instruct
With the accuracy of similar answers in a graded run, in the field "calibrated" of replies
  intact serve qwen2.5-coder-0.5b-instruct --calibration gsm8k.jsonl
From a repository on the hub, unloaded after ten minutes without a request
  intact serve qwen=hf:Qwen/Qwen3-0.6B-GGUF:Q8_0 --idle 600
A replica on each machine of a Ray cluster, behind this address
  intact serve qwen3-0.6b --ray auto
For programs that request a fixed model name, such as gpt-4o
  intact serve qwen3-0.6b --any-name
For other machines, with keys
  intact serve --host 0.0.0.0 --api-keys keys.txt
"""

_ACCESS: dict[str, Any] = {"rich_help_panel": Advanced("Access"), "show_default": False}
_LIMITS: dict[str, Any] = {"rich_help_panel": Advanced("Limits")}
_REPLICAS: dict[str, Any] = {"rich_help_panel": Advanced("Replicas")}


class Replicas(NamedTuple):
    """The number of replicas, and the policy that routes requests to them."""

    size: FleetSize | None
    route: Literal["prefix", "random"]


def command(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...",
            help="Names or paths, optionally as NAME=MODEL.",
            autocompletion=complete_model,
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 picks a free one.")] = 8000,
    api_keys: Annotated[
        Path | None,
        typer.Option("--api-keys", metavar="FILE", help="File of API keys, one per line.", show_default=False),
    ] = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Serve other machines without a key.")] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="Server name to accept in the Host header, in addition to localhost.",
            **_ACCESS,
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option("--allow-origin", metavar="URL", help="Site whose pages may use the server.", **_ACCESS),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory",
            metavar="SIZE",
            help="Memory limit for all models; the least recently used one is unloaded.",
            show_default=False,
        ),
    ] = None,
    idle: Annotated[
        float | None,
        typer.Option(
            "--idle",
            metavar="SECONDS",
            min=0.1,
            help="Unload a model after this many seconds without a request.",
            show_default=False,
            **_LIMITS,
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            metavar="DIR",
            help="Folder for files, batches and responses.",
            rich_help_panel=Advanced(),
            show_default=False,
        ),
    ] = None,
    running: Annotated[
        int, typer.Option("--running", min=1, help="Maximum running sequences per model.", **_LIMITS)
    ] = ServerSettings.running,
    waiting: Annotated[
        int, typer.Option("--waiting", min=0, help="Maximum queued requests per model.", **_LIMITS)
    ] = ServerSettings.waiting,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=1, help="Maximum tokens per completion.")
    ] = ServerSettings.max_tokens,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, help="Request timeout in seconds.", **_LIMITS)
    ] = ServerSettings.request_seconds,
    seeds: Annotated[
        Literal["fresh", "fixed"],
        typer.Option(
            "--seeds",
            help="Seed for requests without one: a fresh seed each time, or always 0.",
            rich_help_panel=Advanced(),
        ),
    ] = ServerSettings.seeds,
    any_name: Annotated[
        bool,
        typer.Option(
            "--any-name", help="Answer with the only model, regardless of the model name that a client sends."
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Reject fields that other servers support, even harmless ones.", **_LIMITS)
    ] = False,
    socket: Annotated[
        bool,
        typer.Option(
            "--socket/--no-socket", help="Let this user's intact run and chat use the loaded models.", **_ACCESS
        ),
    ] = True,
    profile: ProfileOption = "int8",
    kv: KvOption = None,
    threads: ThreadsOption = None,
    executor: ExecutorOption = "native",
    gpu_memory: GpuMemoryOption = None,
    cache: CacheOption = None,
    drafter: DrafterOption = None,
    draft_model: DraftModelOption = None,
    adapters: Annotated[
        list[str] | None,
        typer.Option(
            "--adapter",
            metavar="NAME=PATH",
            help="LoRA adapter of the first model, which clients request as a model; repeatable.",
            rich_help_panel=MEMORY,
            show_default=False,
        ),
    ] = None,
    others: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="NAME=MODEL",
            help="Another model with the first one's vocabulary, for mixes in its requests; repeatable.",
            rich_help_panel=Advanced(),
            show_default=False,
        ),
    ] = None,
    calibration: Annotated[
        list[Path] | None,
        typer.Option(
            "--calibration",
            metavar="FILE",
            help="Result of intact eval: methods' replies then state how often such answers are right; repeatable.",
            rich_help_panel=Advanced(),
            show_default=False,
        ),
    ] = None,
    prefix_cache: PrefixCacheOption = None,
    prefix_cache_bytes: PrefixCacheBytesOption = None,
    tensor_parallel: TensorParallelOption = None,
    pipeline_parallel: PipelineParallelOption = None,
    prefill: PrefillOption = None,
    weights_memory: WeightsMemoryOption = None,
    no_prefix_cache: Annotated[
        bool,
        typer.Option(
            "--no-prefix-cache",
            help="Compute each prompt in full, without sharing prefixes. It does not change any token.",
            rich_help_panel=MEMORY,
        ),
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Ray cluster to run replicas on: auto, HOST:PORT, or local.",
            show_default=False,
            **_REPLICAS,
        ),
    ] = None,
    replicas: Annotated[
        str | None,
        typer.Option(
            "--replicas",
            metavar="NUMBER",
            help="Number of replicas, or a range such as 1-4 that scales with the queue.",
            show_default="one on each machine",
            **_REPLICAS,
        ),
    ] = None,
    route: Annotated[
        Literal["prefix", "random"],
        typer.Option(
            "--route", help="Send a request to the replica that has its prefix, or to any replica.", **_REPLICAS
        ),
    ] = "prefix",
    otel: Annotated[
        bool,
        typer.Option(
            "--otel",
            help="Send OpenTelemetry traces to OTEL_EXPORTER_OTLP_ENDPOINT.",
            rich_help_panel=Advanced("Logs and traces"),
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Write the log as JSON lines.")] = False,
) -> None:
    """Serve models over HTTP with an OpenAI-compatible API, reasoning methods, and a web page to watch them."""
    settings = ServerSettings(
        host,
        port,
        keys=() if api_keys is None else read_keys(api_keys),
        no_auth=no_auth,
        hosts=tuple(allow_host or ()),
        origins=tuple(allow_origin or ()),
        memory_bytes=as_bytes(memory, "--memory"),
        unload_seconds=idle,
        state=state,
        running=running,
        waiting=waiting,
        max_tokens=max_tokens,
        request_seconds=seconds,
        seeds=seeds,
        any_name=any_name,
        strict=strict,
        log="json" if json else "text",
    )
    kept = prefix_cache_options(prefix_cache, prefix_cache_bytes)
    if no_prefix_cache and kept:
        raise ParameterError(
            "--no-prefix-cache keeps no prefixes, but --prefix-cache names a folder for them: use only one"
        )
    if others and ray is not None:
        raise ParameterError("--with cannot be combined with --ray: each replica loads only its own model")
    if calibration and ray is not None:
        raise ParameterError("--calibration cannot be combined with --ray: replicas cannot read files of this machine")
    if others and prefill is not None:
        raise ParameterError(
            "--prefill computes the prompts of a single model, but --with names others: leave out one of them"
        )
    if prefill is not None and (ray is not None or len(models or []) > 1):
        raise ParameterError(
            "--prefill computes the prompts of a single model in a single process: serve one model, without --ray"
        )
    check_installed("the server", *PACKAGES)
    from intact.serve.app import create_app
    from intact.serve.logs import set_up_log
    from intact.serve.models import Loading, Models
    from intact.serve.server import EndingServer, SameUserServer, make_server, raise_file_limit
    from intact.serve.service import Service
    from intact.serve.tracing import exporting

    if ray is None and (replicas is not None or route != "prefix"):
        raise ParameterError("--replicas and --route need --ray")
    size = None
    if ray is not None:
        from intact.evaluate.cluster.connection import check_cluster
        from intact.serve.replicas.scaling import FleetSize

        size = None if replicas is None else FleetSize.parse(replicas)
        check_cluster(ray)
        if otel:
            raise ParameterError("--otel cannot be combined with --ray: replicas do not send traces")
    traces = exporting() if otel else None
    named = {name: Path(path) for name, path in (pair(text, "--adapter") for text in adapters or [])}
    texts = _all_named(models or [DEFAULT])
    settings.check_names([*texts, *named])
    places = {name: fetch.locate(place) for name, place in texts.items()}
    drafts = None if draft_model is None else fetch.locate(draft_model)
    partners = _partners(others or [])
    loading = Loading(
        coded(profile, kv),
        threads,
        as_bytes(cache),
        drafter=drafter,
        draft_model=drafts,
        adapters=named,
        partners=partners,
        tensor_parallel=tensor_parallel or 1,
        pipeline_parallel=pipeline_parallel or 1,
        prefill=prefill,
        weights_memory=as_bytes(weights_memory, "--weights-memory"),
        executor=executor,
        gpu_memory=as_bytes(gpu_memory, "--gpu-memory"),
        **{"prefix_cache": not no_prefix_cache} | kept,
    )
    kind = SameUserServer if socket else EndingServer
    if ray is not None:
        _serve_replicas(ray, places, loading, settings, kind=kind, replicas=Replicas(size, route))
        return
    served = Models(places, loading, settings)
    runs: tuple[CalibrationRun, ...] = ()
    if calibration:
        from intact.serve.calibrations import open_calibrations

        runs = open_calibrations(calibration, served, loading)
    set_up_log(settings.log)
    raise_file_limit(settings.connections)
    service = Service(settings, served, traces, runs)
    make_server(create_app(service), settings, service.cut, kind).run()


def _partners(texts: Sequence[str]) -> dict[str, Path]:
    """Return the models of `--with`, in order."""
    partners: dict[str, Path] = {}
    for name, place in map(pair, texts):
        if name in partners:
            raise ParameterError(f"--with names {name!r:.60} twice: give each model its own name")
        partners[name] = fetch.locate(place)
    return partners


def _serve_replicas(
    ray: str,
    places: Mapping[str, str | Path],
    loading: Loading,
    settings: ServerSettings,
    kind: type[EndingServer],
    replicas: Replicas,
) -> None:
    """Serve through replicas, until the server is asked to stop."""
    import asyncio

    from intact.serve.logs import set_up_log
    from intact.serve.replicas.gateway import Gateway
    from intact.serve.replicas.opening import opened_fleet
    from intact.serve.server import make_server, raise_file_limit

    set_up_log(settings.log)
    raise_file_limit(settings.connections)
    cut = asyncio.Event()
    with opened_fleet(ray, places, loading, settings, **replicas._asdict()) as fleet:
        make_server(Gateway(fleet, settings, cut).application(), settings, cut, kind).run()


def _all_named(texts: Sequence[str]) -> dict[str, str]:
    """Map the names that clients use to paths; raise if two are the same."""
    places: dict[str, str] = {}
    for name, place in map(_named, texts):
        if name in places:
            raise ParameterError(
                f"{places[name]} and {place} would both be named {name!r}; name one of them: NAME={place}"
            )
        places[name] = place
    return places


def _named(text: str) -> tuple[str, str]:
    name, equals, place = text.partition("=")
    if equals and not name:
        raise ParameterError(f"{text!r} gives a model an empty name; expected NAME=MODEL, or only the model")
    if not (place if equals else text):
        raise ParameterError(f"{text!r} names no model; expected NAME=MODEL, or only the model")
    if equals:
        return name, place
    if HubName.matches(text):
        return HubName.parse(text).repo.rpartition("/")[2], text
    return (text.rstrip("/").rpartition("/")[2].removesuffix(".gguf") if "/" in text else text), text
