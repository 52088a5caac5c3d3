"""Load a model: its files, its program, an executor for the program, and an engine around the executor."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from intact._base.errors import ModelError, ParameterError
from intact._base.files import expand_home
from intact._base.memory import parse_size, usable
from intact._base.system import can_page
from intact.checkpoints.catalogue import DEFAULT, resolve
from intact.checkpoints.catalogue.measured import known_digests, remember_digests, state_of
from intact.checkpoints.formats import Checkpoint, open_checkpoint
from intact.engine.drafting import OFF
from intact.engine.engine import DEFAULT_CHUNK, DEFAULT_ROWS, Engine
from intact.engine.model import Partner, check_vocabularies
from intact.engine.page_store import DEFAULT_BYTES, Pages, PageStore
from intact.engine.remote_prompts import PageSource
from intact.engine.sampling.definitions import integer, whole
from intact.executors.base import Executor, choose_threads
from intact.executors.names import ExecutorName
from intact.executors.settings import ExecutorSettings, GpuSettings, check_executor
from intact.library.drafters import DrafterLoader
from intact.library.model import Model
from intact.library.parallel.ranks import ONE_PROCESS, Division, choose_division, parse_prefill
from intact.library.reading import Progress, reading
from intact.models import build_program
from intact.models.adapters import read_adapter, with_adapters
from intact.models.program import Program
from intact.numerics.profiles import Profile, ProfileParts, parse_profile, with_codec
from intact.receipts.identity import added_digest, digests_of, identify, numerics_of
from intact.receipts.model_digests import ModelDigests
from intact.text import Tokenizer

ADAPTER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def load(
    name_or_path: str | os.PathLike[str] | Checkpoint = DEFAULT,
    profile: Profile = "int8",
    threads: int | None = None,
    *,
    bits: Literal[8, 4] = 8,
    executor: ExecutorName = "native",
    gpu_memory: int | str | None = None,
    gpu_check: bool = True,
    recheck: int = 0,
    page_size: int = 32,
    chunk: int = DEFAULT_CHUNK,
    rows: int = DEFAULT_ROWS,
    cache_bytes: int | str | None = None,
    prefix_cache: bool | str | os.PathLike[str] = True,
    prefix_cache_bytes: int | str | None = None,
    drafter: str = "auto",
    draft_model: str | os.PathLike[str] | None = None,
    partners: Sequence[str | os.PathLike[str]] = (),
    adapters: Mapping[str, str | os.PathLike[str]] | None = None,
    adapter: str | None = None,
    tensor_parallel: int | str = 1,
    pipeline_parallel: int | str = 1,
    prefill: str | None = None,
    weights_memory: int | str | None = None,
    kv: str | None = None,
    progress: Progress | None = None,
) -> Model:
    """Load a model.

    Parameters
    ----------
    name_or_path : str, path or Checkpoint
        A name from the catalogue or the hub (``hf:owner/repo``), an alias, or the path of a GGUF file or of a
        safetensors folder (docs/models.md); nothing is downloaded. Or an open checkpoint.
    profile : {'int8', 'fp32'} or another
        'int8' is integer arithmetic (docs/spec/numerics.md); 'fp32' computes with the unmodified weights in FP32, in
        one fixed order (docs/spec/numerics_fp32.md). The other profiles use integer arithmetic with activations on a
        different grid, or with sparse activations (docs/spec/profiles.md).
    threads : int, optional
        Number of threads; by default INTACT_THREADS, else the number of cores this process may use. It never changes a
        bit of the result; of the parameters below, only `bits` and `kv` affect it.
    bits : {8, 4}
        Bits per weight for matrices that the checkpoint stores as floats. This changes the result.
    executor : {'native', 'wgpu', 'auto', 'reference'}
        The C++ executor; the GPU executor (docs/gpu.md), or with ``'auto'`` the GPU if there is one that passes its
        self-test, else the CPU; or the definition in NumPy, which leaves threading to NumPy. Does not change any bit.
    gpu_memory : int or str, optional
        Maximum memory of the GPU to use, in bytes or as a string such as ``"8GB"``; by default, all that the driver
        gives.
    gpu_check : bool
        If true, compare a few steps with the CPU before the GPU is used; this takes the CPU's memory and loading time.
    recheck : int
        If above 0, compute one row again on the CPU in every step of this number, and raise an error if it differs.
    page_size, chunk, rows : int
        Positions per page of the KV cache, prompt tokens per step, rows per step.
    cache_bytes : int or str, optional
        Hard cap on the KV cache, in bytes or as a string such as ``"300MB"``; by default a quarter of the memory that
        this process may use.
    prefix_cache : bool, str or path
        If true, prompts with a common prefix share its KV cache pages, even after the first such request has ended. If
        a folder, pages of prompts are also stored there, for later and concurrent processes (docs/engine.md); the
        folder is created if needed. The first time a model is used with a folder, its weights are read a second time to
        compute their digest.
    prefix_cache_bytes : int or str, optional
        Cap on the total size of the files in that folder, in bytes or as a string such as ``"2GB"``; by default 4 GB.
        The least recently used pages are removed.
    drafter : {'auto', 'heads', 'lookup', 'recycling', 'stand', 'off'} or another's name
        The drafter for speculative decoding (docs/drafting.md). 'heads' is the model's own prediction head, which needs
        additional memory.
    draft_model : str or path, optional
        A smaller model with the same vocabulary, or the folder of an EAGLE-3 head made for the model. It drafts in
        addition to `drafter`, or on its own if that is 'model', and has its own cache with a cap of the same size.
    partners : sequence of str or path
        Other models with the same vocabulary, loaded in the same profile, for mixes that need one (docs/mixing.md).
    adapters : mapping of str to path
        LoRA adapters and control vectors under names of your choice: PEFT folders or GGUF files; a colon and a factor
        may follow the path (docs/adapters.md).
    adapter : str, optional
        Adapter for requests that name none; by default they use the plain model.
    tensor_parallel : int or str
        Number of processes to split the model between, each of which loads its rows of every matrix; or parts such as
        ``"here*3,10.0.0.2:7000"``, for machines that run ``intact shard`` (docs/cluster.md). Draft models and partners
        run in this process.
    pipeline_parallel : int or str
        Number of processes to divide the model's layers between, each of which loads only its own layers; or parts as
        above. This process has the first layers, the embedding and the head.
    prefill : str, optional
        Another process that computes the full pages of prompts: ``"HOST:PORT"`` of an ``intact shard``, or ``"local"``
        for a process on this machine. Other requests keep running until the pages arrive. Received pages may use as
        much memory as the cache (docs/cluster.md).
    weights_memory : int or str, optional
        Hard cap on the memory for the model's weights, in bytes or as a string such as ``"2GB"``, for models that
        exceed it: the weights are packed once into a file in ``$INTACT_HOME/packed`` and read from there as needed
        (docs/engine.md). Linux and integer profiles only. By default all weights are held in memory; those of draft
        models, prediction heads, partners and adapters always are.
    kv : {'int8', 'int84', 'int4'}, optional
        Codec of the KV cache, to fit more positions into the same memory (docs/spec/kv_codecs.md). It changes the
        result and is part of the profile: ``kv="int4"`` turns ``int8`` into ``int8+kv-int4``. Draft models do not use a
        codec.
    progress : callable, optional
        Called with the number of bytes of weights read so far and their total, in the thread that loads. Weights of
        draft models, partners and other processes are not counted.

    Raises
    ------
    FormatError, ModelError, ParameterError
        If a file or an argument is invalid; the message names the file and the problem.
    CapacityError
        If `weights_memory` is given, and there is too little disk space for the packed weights.
    WorkerError
        If another process of the model cannot be reached, or would compute different results.
    """
    profile = with_codec(profile, kv)
    parts = parse_profile(profile)
    width = whole(bits)
    if width not in (8, 4):
        raise ParameterError(f"bits must be 8 or 4, got {bits!r}")
    page_size = integer("page_size", page_size, 16, 1 << 16)
    if page_size % 16:
        raise ParameterError(f"page_size must be an integer from 16 to 65536 and a multiple of 16, got {page_size}")
    chunk, rows = integer("chunk", chunk, 1, 1 << 16), integer("rows", rows, 1, 1 << 16)
    threads = None if threads is None else integer("threads", threads, 1, 1024)
    if cache_bytes is None:
        memory = usable()
        most_cache = memory and memory // 4
    else:
        most_cache = _size("cache_bytes", cache_bytes)
    most_pages = None if prefix_cache_bytes is None else _size("prefix_cache_bytes", prefix_cache_bytes)
    folder = _prefix_folder(prefix_cache, most_pages)
    division = _division(tensor_parallel, pipeline_parallel, bool(adapters), folder is not None)
    cap = _weights_cap(weights_memory, parts, executor, division)
    if prefill is not None:
        _check_prefill(prefill, division, prefix_cache, bool(partners))
    gpu = GpuSettings(
        None if gpu_memory is None else _size("gpu_memory", gpu_memory),
        gpu_check,
        integer("recheck", recheck, 0, 1 << 30),
    )
    if gpu != GpuSettings() and executor not in ("wgpu", "auto"):
        raise ParameterError(f"gpu_memory, gpu_check and recheck need executor='wgpu' or 'auto', got {executor!r:.60}")
    settings = ExecutorSettings(profile, width, page_size, executor, threads=threads, gpu=gpu)
    guessing = DrafterLoader(drafter, draft_model, settings, division)
    check_executor(executor, profile)
    if executor in ("wgpu", "auto") and len(division.ranks) > 1:
        raise ParameterError(
            f"the executor {executor} runs whole models: leave out {division.way}_parallel, or use 'native'"
        )
    import tokenizers  # noqa: F401  before short-lived data: what stays in memory then leaves fewer holes

    if isinstance(partners, str | os.PathLike):
        raise ParameterError(f"partners must be a list of models, got {partners!r:.60}")
    sources = (name_or_path, *partners)
    states = [None if folder is None else _file_state(one) for one in sources]  # before they are opened

    def check(checkpoint: Checkpoint, program: Program) -> None:
        if program.is_encoder:
            pages = folder is not None or prefill is not None
            _check_encoder(drafter, draft_model is not None, bool(partners), pages)
        guessing.check(checkpoint, program)

    named = _named(adapters or {}, adapter)
    opening: dict[str, Any] = {"weights_memory": cap, "check": check, "guessing": guessing, "progress": progress}
    main, variants = _open(name_or_path, settings, named, division, **opening)
    others = tuple(_open(one, settings)[0] for one in partners)
    for other in others:
        check_vocabularies(main, other)
    prompts: PageSource | None = None
    if prefill is not None:
        from intact.library.parallel.start import start_prompts

        limit = most_cache or DEFAULT_BYTES
        process = parse_prefill(prefill)
        prompts = start_prompts(main.checkpoint, main.program, process, settings, executor=main.executor, limit=limit)
    encoder, keep = main.program.is_encoder, prefix_cache is not False
    paging: dict[str, Any] = {"page_size": page_size, "cache_bytes": most_cache, "prefix_cache": keep}
    small = partial(load, threads=threads, executor=executor, drafter=OFF, **paging)
    stores: list[Pages] = [] if prompts is None else [prompts.box]
    if folder is not None:
        limit = DEFAULT_BYTES if most_pages is None else most_pages
        stores = [_page_store(one, state, folder, limit) for one, state in zip((main, *others), states, strict=True)]
    engine = Engine(
        main.executor,
        main.program.context,
        chunk=chunk,
        rows=rows,
        cache_bytes=most_cache,
        prefix_cache=keep,
        drafting=None if encoder else guessing.drafting(main, small, most_cache, keep),
        partners=[other.executor for other in others],
        stores=stores,
        adapters=[added_digest(variant.program, main.program) for variant in variants.values()] if folder else (),
        whole=encoder,
    )
    return Model(
        main.checkpoint,
        main.program,
        main.tokenizer,
        engine,
        partners=others,
        adapters=variants,
        adapter=adapter or "",
        prompts=prompts,
    )


def _check_encoder(drafter: str, draft_model: bool, partners: bool, pages: bool) -> None:
    """Reject arguments that only generative models support."""
    if draft_model or drafter not in ("auto", OFF):
        raise ParameterError(f"an encoder does not generate tokens: give drafter='off', got {drafter!r:.60}")
    if partners:
        raise ParameterError("an encoder does not generate tokens: leave out partners")
    if pages:
        raise ParameterError(
            "an encoder keeps no pages, because they depend on the whole text: leave out the prefix cache"
        )


def _size(name: str, size: object) -> int:
    """Parse a number of bytes, given as an integer or as a string such as 300MB.

    Raises
    ------
    ParameterError
        If it is neither.
    """
    return integer(name, parse_size(size, name) if isinstance(size, str) else size, 1, 1 << 62)


def _prefix_folder(prefix_cache: object, limit: int | None) -> Path | None:
    """Return the folder for pages if the arguments of `load` name one, else None."""
    folder = expand_home(os.fspath(prefix_cache)) if isinstance(prefix_cache, str | os.PathLike) else None
    if (folder is None and not isinstance(prefix_cache, bool)) or prefix_cache == "":
        raise ParameterError(f"prefix_cache must be True, False or a folder, got {prefix_cache!r:.60}")
    if limit is not None and folder is None:
        raise ParameterError("prefix_cache_bytes limits a folder, but no folder is given: give prefix_cache=FOLDER")
    return folder


def _division(tensor_parallel: int | str, pipeline_parallel: int | str, adapters: bool, folder: bool) -> Division:
    """Return how the arguments of `load` divide the model; reject options that several processes do not support."""
    division = choose_division(tensor_parallel, pipeline_parallel)
    several, way = len(division.ranks) > 1, f"{division.way} parallel"
    if several and adapters:
        raise ParameterError(f"{way} does not support adapters: load the model in one process")
    if several and folder:
        raise ParameterError(
            f"{way} does not keep pages in files: give prefix_cache=True, or load the model in one process"
        )
    return division


def _check_prefill(prefill: str, division: Division, prefix_cache: object, partners: bool) -> None:
    """Reject arguments that cannot be combined with a process that computes prompts."""
    parse_prefill(prefill)
    if len(division.ranks) > 1:
        raise ParameterError(f"prefill and {division.way}_parallel cannot be combined: choose one")
    if prefix_cache is not True:
        raise ParameterError(f"prefill needs the cache in memory: give prefix_cache=True, got {prefix_cache!r:.60}")
    if partners:
        raise ParameterError("prefill computes the prompts of a single model: leave out prefill or partners")


def _weights_cap(
    weights_memory: int | str | None, parts: ProfileParts, executor: str, division: Division
) -> int | None:
    """Return the memory cap that `weights_memory` sets; reject arguments that cannot be combined with it."""
    if weights_memory is None:
        return None
    cap = _size("weights_memory", weights_memory)
    if executor != "native":
        raise ParameterError(f"weights_memory needs the native executor, got executor={executor!r}")
    if parts.float32:
        raise ParameterError(
            "weights_memory needs an integer profile: fp32 reads the model's own file, which is memory-mapped"
        )
    if parts.scheme.outliers:
        raise ParameterError(
            f"weights_memory does not support the profile {parts.scheme.name}, which adds columns to matrices"
        )
    if len(division.ranks) > 1:
        raise ParameterError(f"weights_memory and {division.way}_parallel cannot be combined: choose one")
    if not can_page():
        raise ParameterError("weights_memory needs Linux: other systems do not let a program drop pages of a file")
    return cap


def _file_state(source: str | os.PathLike[str] | Checkpoint) -> str | None:
    """Return the state of a model's files, the key for storing its digests; None for an open checkpoint."""
    return None if isinstance(source, Checkpoint) else state_of(Path(resolve(source)))


def _page_store(model: Partner, state: str | None, folder: Path, limit: int) -> PageStore:
    """Open the page store of a model in a folder; `state` is the state of the model's files before they were opened."""
    known = _known(model.path, state, lambda: digests_of(model))
    executor, numerics = model.executor, numerics_of(model)
    form, _, version = executor.layout.partition(" ")
    identity: dict[str, str | int] = {
        "weights": known["weights"],
        "numerics": numerics.version,
        "profile": numerics.profile,
        "bits": numerics.bits,
        "executor": form,
        "layout": version,
        "page_size": executor.page_size,
        "byte_order": sys.byteorder,
    }
    return PageStore(folder, identity, executor.page_bytes, limit)


def _known(path: Path, state: str | None, measure: Callable[[], ModelDigests]) -> dict[str, Any]:
    """Return a model's digests; compute and store them unless they are known for the files' state before opening."""
    known = known_digests(path) if state is not None and state_of(path) == state else None
    if known is None:
        known = measure().to_document()
        remember_digests(path, state, known)
    return known


def _open(
    name_or_path: str | os.PathLike[str] | Checkpoint,
    settings: ExecutorSettings,
    adapters: Mapping[str, str | os.PathLike[str]] = MappingProxyType({}),
    division: Division = ONE_PROCESS,
    weights_memory: int | None = None,
    check: Callable[[Checkpoint, Program], None] = lambda checkpoint, program: None,
    guessing: DrafterLoader | None = None,
    progress: Progress | None = None,
) -> tuple[Partner, dict[str, Partner]]:
    """Return the model with an executor, and a variant for each adapter; errors as in `load`.

    `check` may raise before any weights are converted; its errors may also concern the files of a head in `guessing`.
    """
    state = None if weights_memory is None else _file_state(name_or_path)
    checkpoint = name_or_path if isinstance(name_or_path, Checkpoint) else open_checkpoint(Path(resolve(name_or_path)))
    try:
        program = build_program(checkpoint)
        check(checkpoint, program)
        changes = {name: read_adapter(path, checkpoint, program) for name, path in adapters.items()}
        whole = with_adapters(program, changes)
        tokenizer = Tokenizer.from_checkpoint(
            checkpoint
        )  # before the weights, since building it needs memory temporarily
        runner: Executor
        if len(division.ranks) > 1:
            if whole.is_encoder:
                raise ParameterError("an encoder cannot be divided: load it in one process")
            from intact.library.parallel.start import start_ranks

            runner = start_ranks(checkpoint, whole, division, settings)
        elif weights_memory is not None:
            from intact.executors.weight_store import map_packed

            known = _known(checkpoint.path, state, lambda: identify(checkpoint, program, tokenizer)[1])
            mapped = map_packed(program, known["weights"], settings.bits, choose_threads(settings.threads))
            runner = (guessing or settings).make_executor(whole, mapped=mapped, weights_memory=weights_memory)
        else:
            with reading(whole, progress) as read:
                runner = (guessing or settings).make_executor(read)
        if settings.executor == "native" and not parse_profile(settings.profile).float32:
            checkpoint.rest()  # the weights have been converted
    except ModelError as error:
        named = (checkpoint.path, *adapters.values(), guessing and guessing.head_path)
        if any(str(path) in str(error) for path in named if path):
            raise
        raise ModelError(
            f"{checkpoint.path}: {error}"
        ) from error  # the error was raised where only the tensor was known
    variants = {
        name: Partner(
            checkpoint, with_adapters(program, {name: one}), tokenizer, runner, changed_by=Path(adapters[name])
        )
        for name, one in changes.items()
    }
    return Partner(checkpoint, program, tokenizer, runner), variants


def _named(adapters: Mapping[str, str | os.PathLike[str]], chosen: str | None) -> Mapping[str, str | os.PathLike[str]]:
    """Validate the adapters' names, and return the adapters."""
    if not isinstance(adapters, Mapping):
        raise ParameterError(f"adapters must be a mapping of names to files or folders, got {adapters!r:.60}")
    for name, path in adapters.items():
        if not isinstance(path, str | os.PathLike):
            raise ParameterError(f"adapters[{name!r:.60}] must be a file or a folder, got {path!r:.60}")
        if not (isinstance(name, str) and ADAPTER_NAME.fullmatch(name)):
            raise ParameterError(
                f"adapters: a name consists of letters, digits, dots, hyphens and underscores, got {name!r:.60}"
            )
    if chosen is not None and chosen not in adapters:
        raise ParameterError(f"adapter must name one of adapters ({', '.join(adapters) or 'none'}), got {chosen!r:.60}")
    return adapters
