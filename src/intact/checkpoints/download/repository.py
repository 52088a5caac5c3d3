"""Pulling a model of a hub repository: GGUF files, or a folder of weights with configuration and tokenizer.

The repository's listing is stored by the first pull, and later pulls of the same name use its commit: so a name keeps
its meaning until its models are removed. Files are downloaded one by one and checked before they get their names; the
model's record is written once all files are there.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intact._base.errors import FormatError, IntactError
from intact._base.files import write_whole
from intact._base.strict_json import parse
from intact.checkpoints.catalogue import Hub, HubName
from intact.checkpoints.catalogue.listing import Listing, check_files, is_wanted
from intact.checkpoints.catalogue.place import LISTING
from intact.checkpoints.catalogue.pulled import open_pulled, record_path
from intact.checkpoints.catalogue.variants import Variant, choose, shards
from intact.checkpoints.download.base import (
    CHUNK,
    DownloadError,
    Pulled,
    Report,
    WrongContentError,
    locked,
    require_space,
    sha256,
    space_errors,
)
from intact.checkpoints.download.hub import bytes_kept, endpoint, hub_errors, transfer

_LONGEST_ANSWER = 32 << 20
"""Maximum size, in bytes, of the hub's response with a repository's list of files."""


@dataclass(frozen=True)
class PullPlan:
    """The files that a pull downloads.

    Attributes
    ----------
    name : HubName
        Name as given.
    bytes : int
        Approximate total size: the shards in an index are known only once it has been downloaded.
    """

    name: HubName
    listing: Listing
    variant: Variant
    bytes: int


def plan_pull(name: HubName) -> PullPlan:
    """Choose a model of a repository, from its stored listing or else from the hub's.

    Raises
    ------
    DownloadError
        If the hub does not respond, has no such repository, or returns an invalid listing.
    ParameterError
        If the repository has no such model.
    """
    listing = Listing.kept(name.folder) or _listing(name)
    variant = choose(listing, name.choice)
    size = check_files(listing, variant.files)
    if variant.index is not None:
        ending = variant.suffix
        size += sum(file.size for one, file in listing.files.items() if "/" not in one and one.endswith(ending))
    return PullPlan(name, listing, variant, size)


def pull_planned(plan: PullPlan, report: Report = lambda stage, done, total: None) -> Pulled:
    """Download a hub model into the store, unless it is already there.

    Raises
    ------
    NoSpaceError
        If there is not enough space; data downloaded so far is kept.
    DownloadError
        If a file cannot be downloaded, or does not match the size and digest given by the hub.
    """
    folder = plan.name.folder
    with space_errors(folder, plan.name):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f".{plan.variant.name}.lock", report):
            there = open_pulled(plan.name, plan.listing, plan.variant)
            if there.complete and all(
                _digest(there.folder / name, report) == value.get("sha256") for name, value in there.files.items()
            ):
                return _pulled(plan, fresh=False)
            write_whole(folder / LISTING, json.dumps(plan.listing.to_document(), indent=1) + "\n")
            try:
                _fetch_all(plan, folder / plan.variant.name, report)
            except FormatError as error:
                raise DownloadError(f"cannot pull {plan.name}: {error}") from error
            return _pulled(plan, fresh=True)


def _listing(name: HubName) -> Listing:
    """Request a repository's list of files from the hub."""
    from urllib.parse import quote

    from huggingface_hub import constants
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        build_hf_headers,
        get_session,
        hf_raise_for_status,
    )

    # the client's own call would read a response of any length
    url = f"{endpoint() or constants.ENDPOINT}/api/models/{name.repo}/revision/{quote(name.revision, safe='')}"
    data = bytearray()
    try:
        with (
            hub_errors("of this name"),
            get_session().stream("GET", url, headers=build_hf_headers(), params={"blobs": True}, timeout=30) as answer,
        ):
            hf_raise_for_status(answer)
            for block in answer.iter_bytes(CHUNK):
                data += block
                if len(data) > _LONGEST_ANSWER:
                    raise DownloadError(f"the list of files is longer than {_LONGEST_ANSWER} bytes")
        value = parse(bytes(data), "the list of files", error=DownloadError)
        return Listing.of_document(_document(name, value), "the list of files")
    except IntactError as error:
        raise DownloadError(f"cannot pull {name}: hub {name.repo}: {error}") from error


def _document(name: HubName, value: Any) -> dict[str, Any]:
    """Convert the hub's response to the form of a listing."""
    siblings = value.get("siblings") if isinstance(value, dict) else None
    if not isinstance(siblings, list) or not all(isinstance(one, dict) for one in siblings):
        raise DownloadError("the hub's answer contains no list of files (is HF_ENDPOINT a hub?)")
    files = {}
    for one in siblings:
        file, lfs = one.get("rfilename"), one.get("lfs")
        if isinstance(file, str) and is_wanted(file):
            digest = lfs.get("sha256") if isinstance(lfs, dict) else None
            files[file] = {"size": one.get("size"), "sha256": digest, "git": None if digest else one.get("blobId")}
    tags = value.get("tags") if isinstance(value.get("tags"), list) else []
    licences = [tag[8:68] for tag in tags if isinstance(tag, str) and tag.startswith("license:") and tag.isprintable()]
    return {
        "repo": name.repo,
        "revision": name.revision,
        "commit": value.get("sha"),
        "licence": licences[0] if licences else "unknown",
        "files": files,
    }


def _fetch_all(plan: PullPlan, folder: Path, report: Report) -> None:
    """Download the missing files of a model, then write its record."""
    names = plan.variant.files
    _fetch_several(plan, names, folder, report)
    if (index := plan.variant.index) is not None:
        content = parse((folder / index).read_bytes(), index, error=FormatError)
        names += shards(content, plan.listing, plan.variant)
        check_files(plan.listing, names)
        _fetch_several(plan, names, folder, report)
    files = {}
    for name in names:
        path = folder / plan.variant.local(name)
        digest = plan.listing.files[name].sha256 or sha256(path)
        files[plan.variant.local(name)] = {"bytes": path.stat().st_size, "sha256": digest}
    record = {
        "name": str(plan.name),
        "commit": plan.listing.commit,
        "source": f"hub {plan.name.repo}",
        "licence": plan.listing.licence,
        "files": files,
    }
    write_whole(record_path(plan.name.folder, plan.variant), json.dumps(record, indent=2) + "\n")


def _fetch_several(plan: PullPlan, names: tuple[str, ...], folder: Path, report: Report) -> None:
    missing = [name for name in names if not _is_right(plan, name, folder, report)]
    total = sum(plan.listing.files[name].size for name in missing)
    kept = sum(bytes_kept(_partial(plan, name, folder), plan.listing.files[name].size) for name in missing)
    require_space(plan.name.folder, total - kept, plan.name)
    before = 0
    for name in missing:
        target = folder / plan.variant.local(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        _fetch(plan, name, folder, lambda done, before=before: report("fetch", before + done, total), check=report)
        before += plan.listing.files[name].size


def _fetch(plan: PullPlan, name: str, folder: Path, report: Any, check: Report) -> None:
    """Download one file and move it into place; if it resumed a wrong partial file, start again from the beginning."""
    partial, file = _partial(plan, name, folder), plan.listing.files[name]
    kept = partial.exists()
    try:
        transfer(Hub(plan.name.repo, name, plan.listing.commit), partial, file.size, report)
        _check(partial, plan, name, check)
    except WrongContentError as error:
        partial.unlink()
        if not kept:
            raise DownloadError(f"cannot pull {plan.name}: {error}; it was deleted, try again") from error
        _fetch(plan, name, folder, report, check=check)
        return
    except DownloadError as error:
        raise DownloadError(f"cannot pull {plan.name}: hub {plan.name.repo}: {error}") from error
    os.replace(partial, folder / plan.variant.local(name))  # noqa: PTH105


def _is_right(plan: PullPlan, name: str, folder: Path, report: Report) -> bool:
    """Return true if a file is there with the right digest; delete it if its content is wrong."""
    target = folder / plan.variant.local(name)
    if not target.is_file():
        return False
    try:
        _check(target, plan, name, report)
    except WrongContentError:
        target.unlink()
        return False
    return True


def _check(path: Path, plan: PullPlan, name: str, report: Report) -> None:
    """Compare a file's size and digest with those given by the hub."""
    file, size = plan.listing.files[name], path.stat().st_size
    if size != file.size:
        raise WrongContentError(f"{name} has {size} bytes, expected {file.size}")
    kind = "the Git digest" if file.sha256 is None else "SHA-256"
    found, expected = (_git_digest(path), file.git) if file.sha256 is None else (_digest(path, report), file.sha256)
    if found != expected:
        raise WrongContentError(f"{name} has {kind} {found}, expected {expected}")


def _digest(path: Path, report: Report) -> str:
    """Return the SHA-256 of a file, reporting progress."""
    size = path.stat().st_size
    return sha256(path, lambda done: report("check", done, size))


def _git_digest(path: Path) -> str:
    """Return Git's blob hash of a file. It protects only against damage, since it is SHA-1."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def _partial(plan: PullPlan, name: str, folder: Path) -> Path:
    target, file = folder / plan.variant.local(name), plan.listing.files[name]
    return target.with_name(f".{target.name}.{(file.sha256 or file.git or plan.listing.commit)[:16]}.partial")


def _pulled(plan: PullPlan, fresh: bool) -> Pulled:
    there = open_pulled(plan.name, plan.listing, plan.variant)
    digests = {name: value["sha256"] for name, value in there.files.items()}
    single = next(iter(digests.values())) if len(digests) == 1 else None
    source = f"hub {plan.name.repo} at {plan.listing.commit[:12]}"
    return Pulled(str(plan.name), there.path, there.bytes, single, source=source, fresh=fresh, files=digests)
