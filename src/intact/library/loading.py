"""Loading a model: its files, its program, an executor for it, and an engine around that."""

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
from intact.executors.settings import ExecutorSettings
from intact.library.drafters import DrafterLoader
from intact.library.model import Model
from intact.library.parallel.ranks import ONE_PROCESS, Division, choose_division, parse_prefill
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
    executor: Literal["native", "reference"] = "native",
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
) -> Model:
    """Load a model.

    Parameters
    ----------
    name_or_path : str, path or Checkpoint
        A name of the catalogue or the hub (``hf:owner/repo``), an alias, or the path of a GGUF file or of a folder of
        safetensors (docs/guide.md). Nothing is fetched. Or a checkpoint that is open.
    profile : {'int8', 'fp32'} or another
        Integer arithmetic (docs/numerics.md), or FP32 in one fixed order on the untouched weights
        (docs/numerics_fp32.md). Others are integer arithmetic with activations on another grid, or with sparse ones
        (docs/profiles.md).
    threads : int, optional
        By default INTACT_THREADS, else the cores this process may use. Never changes a bit; nor does anything below but
        `bits` and `kv`.
    bits : {8, 4}
        Codes of matrices that the checkpoint stores as floats. This changes the result.
    executor : {'native', 'reference'}
        The C++ executor, or its definition in NumPy, which leaves threads to NumPy.
    page_size, chunk, rows : int
        Positions a page of the KV cache, prompt tokens a step, rows a step.
    cache_bytes : int or str, optional
        A hard cap on the KV cache, in bytes or such as ``"300MB"``; by default a quarter of the memory that this
        process may use.
    prefix_cache : bool, str or path
        If true, prompts that begin alike share what was computed, also after the first has ended. A folder: pages of
        prompts are kept there too, for later processes and others at the same time (docs/engine.md); it is made if it
        is absent. The first time of a model its weights are read again, to digest them.
    prefix_cache_bytes : int or str, optional
        The most bytes of the files in that folder, or such as ``"2GB"``; by default 4 GB. The least recently used pages
        are removed.
    drafter : {'auto', 'heads', 'lookup', 'recycling', 'stand', 'off'} or another's name
        The drafter, which guesses ahead (docs/drafting.md). 'heads' is the model's own prediction head, which takes
        memory of its own.
    draft_model : str or path, optional
        A smaller model with the same vocabulary, or the folder of an EAGLE-3 head that was made for the model. It
        drafts beside the drafter, or alone if that is 'model', and has a cache of its own, under a cap of the same
        size.
    partners : sequence of str or path
        Other models of the same vocabulary, in the same profile, for mixes that take one (docs/mixing.md).
    adapters : mapping of str to path
        LoRA adapters and control vectors by names of one's own: folders of PEFT, or GGUF files, perhaps with a colon
        and a factor behind the path (docs/adapters.md).
    adapter : str, optional
        That of requests which name none; by default they have none.
    tensor_parallel : int or str
        The number of processes that the model is cut for, each of which loads its rows of every matrix; or parts such
        as ``"here*3,10.0.0.2:7000"``, for machines that run ``intact shard`` (docs/cluster.md). Draft models and
        partners stay in this process.
    pipeline_parallel : int or str
        The number of processes that the model's layers are divided between, each of which loads its layers alone; or
        parts as above. This process has the first ones, the embedding and the head.
    prefill : str, optional
        Another process that computes the full pages of prompts: ``"HOST:PORT"`` of an ``intact shard``, or ``"local"``
        for a process of this machine. Until they are here, the steps of other requests go on. They may take as much
        memory as the cache (docs/cluster.md).
    weights_memory : int or str, optional
        A hard cap on the memory of the model's weights, in bytes or such as ``"2GB"``, for models that are larger than
        it: they are packed once into a file in ``$INTACT_HOME/packed`` and read from there as they are needed
        (docs/engine.md). Linux only, in integer profiles. By default all weights are in memory. Draft models,
        prediction heads, partners and adapters always are.
    kv : {'int8', 'int84', 'int4'}, optional
        A codec of the KV cache, which holds more positions in as much memory (docs/kv_codecs.md). This changes the
        result, and is part of the profile: ``kv="int4"`` makes ``int8`` to ``int8+kv-int4``. A draft model has none.

    Raises
    ------
    FormatError, ModelError, ParameterError
        Naming the file and what in it was wrong.
    CapacityError
        If `weights_memory` is given, and the disk has too little room for the packed weights.
    WorkerError
        If another process of the model cannot be reached, or would compute something else.
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
    settings = ExecutorSettings(profile, width, page_size, executor, threads=threads)
    guessing = DrafterLoader(drafter, draft_model, settings, division)
    if executor not in ("native", "reference") or (executor == "reference" and parts.float32):
        known = "'native'" if parts.float32 else "'native' or 'reference'"
        raise ParameterError(f"there is no executor {executor!r:.60} for the profile {profile}: expected {known}")
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
    main, variants = _open(name_or_path, settings, named, division, weights_memory=cap, check=check, guessing=guessing)
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
    """Refuse what only models that write texts have."""
    if draft_model or drafter not in ("auto", OFF):
        raise ParameterError(f"an encoder draws no tokens to guess: give drafter='off', got {drafter!r:.60}")
    if partners:
        raise ParameterError("an encoder draws no tokens to mix: leave out partners")
    if pages:
        raise ParameterError("an encoder keeps no pages, which depend on the whole text: leave out the prefix cache")


def _size(name: str, size: object) -> int:
    """Return a number of bytes that may be given as a text such as 300MB.

    Raises
    ------
    ParameterError
        If it is neither.
    """
    return integer(name, parse_size(size, name) if isinstance(size, str) else size, 1, 1 << 62)


def _prefix_folder(prefix_cache: object, limit: int | None) -> Path | None:
    """Return the folder of pages that arguments of `load` name, if they name one."""
    folder = expand_home(os.fspath(prefix_cache)) if isinstance(prefix_cache, str | os.PathLike) else None
    if (folder is None and not isinstance(prefix_cache, bool)) or prefix_cache == "":
        raise ParameterError(f"prefix_cache must be True, False or a folder, got {prefix_cache!r:.60}")
    if limit is not None and folder is None:
        raise ParameterError("prefix_cache_bytes limits a folder, and there is none: give prefix_cache=FOLDER")
    return folder


def _division(tensor_parallel: int | str, pipeline_parallel: int | str, adapters: bool, folder: bool) -> Division:
    """Return how arguments of `load` divide the model; refuse what several processes cannot do."""
    division = choose_division(tensor_parallel, pipeline_parallel)
    several, way = len(division.ranks) > 1, f"{division.way} parallel"
    if several and adapters:
        raise ParameterError(f"{way} runs no adapters: load in one process")
    if several and folder:
        raise ParameterError(f"pages of {way} are not kept in files: give prefix_cache=True, or one process")
    return division


def _check_prefill(prefill: str, division: Division, prefix_cache: object, partners: bool) -> None:
    """Refuse what does not go with a process that computes prompts."""
    parse_prefill(prefill)
    if len(division.ranks) > 1:
        raise ParameterError(f"prefill and {division.way}_parallel do not go together: give one")
    if prefix_cache is not True:
        raise ParameterError(f"prefill needs the cache in memory: give prefix_cache=True, got {prefix_cache!r:.60}")
    if partners:
        raise ParameterError("prefill computes prompts of one model, and partners are others: leave out either")


def _weights_cap(
    weights_memory: int | str | None, parts: ProfileParts, executor: str, division: Division
) -> int | None:
    """Return the cap on the memory of weights that an argument of `load` names; refuse what does not go with one."""
    if weights_memory is None:
        return None
    cap = _size("weights_memory", weights_memory)
    if executor != "native":
        raise ParameterError(f"weights_memory is for the native executor, got executor={executor!r}")
    if parts.float32:
        raise ParameterError("weights_memory is for integer profiles: fp32 reads the model's own file, which is mapped")
    if parts.scheme.outliers:
        raise ParameterError(f"weights_memory is not for the profile {parts.scheme.name}: it adds columns to matrices")
    if len(division.ranks) > 1:
        raise ParameterError(f"weights_memory and {division.way}_parallel do not go together: give one")
    if not can_page():
        raise ParameterError("weights_memory needs Linux: this system does not let a program drop pages of a file")
    return cap


def _file_state(source: str | os.PathLike[str] | Checkpoint) -> str | None:
    """Return the state of a model's files, by which its digests may be known; of an open checkpoint nothing is."""
    return None if isinstance(source, Checkpoint) else state_of(Path(resolve(source)))


def _page_store(model: Partner, state: str | None, folder: Path, limit: int) -> PageStore:
    """Open the pages of a model, whose files had a state before it was opened, in a folder."""
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
    """Return the digests of a model, whose files had a state before it was opened; measure them if they are new."""
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
) -> tuple[Partner, dict[str, Partner]]:
    """Return a model with an executor, and the same with each of its adapters; errors as of `load`.

    Before weights are converted, `check` may raise, also of the files of a head that `guessing` has.
    """
    state = None if weights_memory is None else _file_state(name_or_path)
    checkpoint = name_or_path if isinstance(name_or_path, Checkpoint) else open_checkpoint(Path(resolve(name_or_path)))
    try:
        program = build_program(checkpoint)
        check(checkpoint, program)
        changes = {name: read_adapter(path, checkpoint, program) for name, path in adapters.items()}
        whole = with_adapters(program, changes)
        tokenizer = Tokenizer.from_checkpoint(checkpoint)  # before the weights: making it takes memory for a moment
        runner: Executor
        if len(division.ranks) > 1:
            if whole.is_encoder:
                raise ParameterError("an encoder cannot be cut: load it in one process")
            from intact.library.parallel.start import start_ranks

            runner = start_ranks(checkpoint, whole, division, settings)
        elif weights_memory is not None:
            from intact.executors.weight_store import map_packed

            known = _known(checkpoint.path, state, lambda: identify(checkpoint, program, tokenizer)[1])
            mapped = map_packed(program, known["weights"], settings.bits, choose_threads(settings.threads))
            runner = (guessing or settings).make_executor(whole, mapped=mapped, weights_memory=weights_memory)
        else:
            runner = (guessing or settings).make_executor(whole)
        if settings.executor == "native" and not parse_profile(settings.profile).float32:
            checkpoint.rest()  # the weights have been converted
    except ModelError as error:
        named = (checkpoint.path, *adapters.values(), guessing and guessing.head_path)
        if any(str(path) in str(error) for path in named if path):
            raise
        raise ModelError(f"{checkpoint.path}: {error}") from error  # raised where only a tensor is known
    variants = {
        name: Partner(
            checkpoint, with_adapters(program, {name: one}), tokenizer, runner, changed_by=Path(adapters[name])
        )
        for name, one in changes.items()
    }
    return Partner(checkpoint, program, tokenizer, runner), variants


def _named(adapters: Mapping[str, str | os.PathLike[str]], chosen: str | None) -> Mapping[str, str | os.PathLike[str]]:
    """Return adapters whose names have been checked."""
    if not isinstance(adapters, Mapping):
        raise ParameterError(f"adapters must be a mapping of names to files or folders, got {adapters!r:.60}")
    for name, path in adapters.items():
        if not isinstance(path, str | os.PathLike):
            raise ParameterError(f"adapters[{name!r:.60}] must be a file or a folder, got {path!r:.60}")
        if not (isinstance(name, str) and ADAPTER_NAME.fullmatch(name)):
            raise ParameterError(
                f"adapters: a name has letters, digits, dots, hyphens and underscores, got {name!r:.60}"
            )
    if chosen is not None and chosen not in adapters:
        raise ParameterError(f"adapter must name one of adapters ({', '.join(adapters) or 'none'}), got {chosen!r:.60}")
    return adapters
