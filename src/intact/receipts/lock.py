"""Lock files: the models, data, versions and command that reproduce a published result (docs/spec/receipts.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import intact
from intact._base.errors import LockError, ReceiptError
from intact._base.plugins import installed
from intact._base.strict_json import Fields, is_integer, quote
from intact.checkpoints.formats import open_checkpoint
from intact.models import build_program
from intact.receipts import canonical
from intact.receipts.identity import digests_of, identify, numerics_of
from intact.receipts.model_digests import ModelDigests, Numerics
from intact.text import Tokenizer
from intact.text.template import exact_time

if TYPE_CHECKING:
    from intact.engine.model import LoadedModel

FORMAT: Final = "intact-lock"
VERSION: Final = 2
"""The version that is written; version 1, which has no `now`, can also be read."""
LIBRARIES: Final = ("jinja2", "llguidance", "math-verify", "numpy", "scipy", "sympy", "tokenizers")
"""Other libraries that may affect a result: prompts, masks, scores."""
CLOCK: Final = frozenset({"seconds"})
"""Members of results that depend on a clock."""


@dataclass(frozen=True)
class LockedModel:
    """A model under the name used by a command or a method, with its digests and arithmetic."""

    name: str
    digests: ModelDigests
    numerics: Numerics

    @classmethod
    def of(cls, name: str, model: LoadedModel) -> LockedModel:
        """Lock a loaded model."""
        return cls(name, digests_of(model), numerics_of(model))

    def to_document(self) -> dict[str, Any]:
        """Return the model as a JSON object for a lock or a run's receipt."""
        return {"name": self.name, "digests": self.digests.to_document(), "numerics": self.numerics.to_document()}

    @classmethod
    def from_document(cls, value: Any, where: str) -> LockedModel:
        """Parse the result of `to_document`."""
        fields = Fields(value, where, ("name", "digests", "numerics"))
        digests = ModelDigests.from_document(fields.values["digests"])
        return cls(fields.text("name"), digests, Numerics.from_document(fields.values["numerics"]))


@dataclass(frozen=True)
class LockedFile:
    """A file that a run read: its name and SHA-256."""

    name: str
    sha256: bytes

    def to_document(self) -> dict[str, Any]:
        """Return the file as a JSON object for a lock."""
        return {"name": self.name, "sha256": self.sha256.hex()}

    @classmethod
    def from_document(cls, value: Any, where: str) -> LockedFile:
        """Parse the result of `to_document`."""
        fields = Fields(value, where, ("name", "sha256"))
        return cls(fields.text("name"), fields.digest("sha256"))

    @classmethod
    def of(cls, path: Path) -> LockedFile:
        """Lock a file by hashing it."""
        try:
            with path.open("rb") as file:
                return cls(path.name, hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise LockError(f"{path} cannot be read ({error.strerror or error})") from error


@dataclass(frozen=True)
class LockedRun:
    """A command of this package.

    Attributes
    ----------
    arguments : tuple of str
        The arguments of `intact`.
    files : tuple of LockedFile
        The files that it read, excluding models.
    result : bytes
        The digest of its output (`result_digest`), or the SHA-256 of the file that it wrote.
    written : str or None
        The name of that file.
    now : str or None
        The time for the command's chat templates (option ``--now``), such as ``2026-11-20T17:45:00``; None if the
        command has no such option, and in locks of version 1.
    """

    arguments: tuple[str, ...]
    files: tuple[LockedFile, ...]
    result: bytes
    written: str | None = None
    now: str | None = None

    def to_document(self, version: int = VERSION) -> dict[str, Any]:
        """Return the run as a JSON object for a lock of this version."""
        value = {
            "arguments": list(self.arguments),
            "files": [file.to_document() for file in self.files],
            "result": self.result.hex(),
            "written": self.written,
        }
        return value if version == 1 else value | {"now": self.now}

    @classmethod
    def from_document(cls, value: Any, version: int = VERSION) -> LockedRun:
        """Parse the run's JSON object in a lock of this version."""
        fields = Fields(value, "run", ("arguments", "files", "result", "written", *(["now"] if version > 1 else [])))
        arguments = fields.items("arguments")
        if not arguments or not all(isinstance(item, str) for item in arguments):
            fields.fail("arguments", "a non-empty list of strings")
        now = fields.maybe("now", fields.text) if version > 1 else None
        if now is not None and exact_time(now) is None:
            fields.fail("now", "a time such as 2026-11-20T17:45:00")
        files, written = fields.each("files", LockedFile.from_document), fields.maybe("written", fields.text)
        return cls(tuple(arguments), files, fields.digest("result"), written, now=now)


@dataclass(frozen=True)
class Lock:
    """The models, versions and command with which a result was made.

    Attributes
    ----------
    package : str
        The version of this package.
    libraries : mapping
        Versions of other packages that may affect the result.
    models : tuple of LockedModel
        All models that were loaded.
    run : LockedRun or None
        The command that produces the result; None if a separate program produced it.
    version : int
        The version of the file from which the lock was read; it keeps the lock's digest equal to the file's.
    """

    package: str
    libraries: Mapping[str, str]
    models: tuple[LockedModel, ...]
    run: LockedRun | None = None
    version: int = VERSION

    @classmethod
    def now(cls, models: Iterable[LockedModel], run: LockedRun | None = None) -> Lock:
        """Return a lock with the versions installed here."""
        return cls(intact.__version__, libraries(), tuple(models), run)

    def to_document(self) -> dict[str, Any]:
        """Return the lock as a JSON object."""
        return {
            "format": FORMAT,
            "version": self.version,
            "intact": self.package,
            "libraries": dict(self.libraries),
            "models": [model.to_document() for model in self.models],
            "run": None if self.run is None else self.run.to_document(self.version),
        }

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical form (RFC 8785), which does not depend on the file's indentation."""
        return hashlib.sha256(canonical.encode(self.to_document())).digest()

    def text(self) -> str:
        """Return the text of the file: indented JSON."""
        return json.dumps(self.to_document(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def parse(cls, data: bytes) -> Lock:
        """Parse a lock.

        Raises
        ------
        LockError
            If the document is not a lock, or has a later version.
        """
        try:
            return cls._read(canonical.read(data, "the lock"))
        except ReceiptError as error:
            raise LockError(f"not a lock: {error}") from error

    @classmethod
    def _read(cls, value: Any) -> Lock:
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise LockError(f"not a lock: its member 'format' must be {FORMAT!r}")
        version: Any = value.get("version")
        if not is_integer(version, 1, VERSION):
            raise LockError(f"the lock has version {quote(version)}, but this program reads versions 1 and {VERSION}")
        fields = Fields(value, "the lock", ("format", "version", "intact", "libraries", "models", "run"))
        found, run = fields.values["libraries"], fields.values["run"]
        if not isinstance(found, dict) or not all(isinstance(item, str) for item in found.values()):
            fields.fail("libraries", "an object of versions")
        return cls(
            fields.text("intact"),
            found,
            fields.each("models", LockedModel.from_document),
            None if run is None else LockedRun.from_document(run, version),
            version=version,
        )


def libraries() -> dict[str, str]:
    """Return the versions of `LIBRARIES` that are installed."""
    return {name: version for name in LIBRARIES if (version := installed(name)) is not None}


def lock_model(name: str, path: Path, numerics: Numerics) -> LockedModel:
    """Lock a checkpoint without loading it.

    Raises
    ------
    FormatError, ModelError
        If the file is not a model.
    """
    with open_checkpoint(path) as checkpoint:
        _, digests = identify(checkpoint, build_program(checkpoint), Tokenizer.from_checkpoint(checkpoint))
    return LockedModel(name, digests, numerics)


def result_digest(result: Any) -> bytes:
    """Return the SHA-256 of a result as JSON, sorted and without spaces; members in `CLOCK` are omitted."""
    text = json.dumps(_timeless(result), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(item) for name, item in value.items() if name not in CLOCK}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


class LockFinding(NamedTuple):
    """One comparison of a lock with this machine.

    Attributes
    ----------
    what : str
        The subject, such as "weights of smollm2-135m-instruct".
    locked, found : str
        The value in the lock, and the value here.
    decides : bool
        If true, a difference implies a different result; otherwise, the result may still be the same.
    """

    what: str
    locked: str
    found: str
    decides: bool = True

    @property
    def same(self) -> bool:
        """True if the two values are equal."""
        return self.locked == self.found


def compare(locked: Lock, here: Lock) -> list[LockFinding]:
    """Compare a lock with one created here, item by item; models and files are matched by name."""
    findings = [LockFinding("version of intact", locked.package, here.package, decides=False)]
    findings += [
        LockFinding(f"version of {name}", own, here.libraries.get(name, _ABSENT), decides=False)
        for name, own in locked.libraries.items()
    ]
    others = {model.name: model for model in here.models}
    for model in locked.models:
        other = others.get(model.name)
        a, b = _facts(model), {} if other is None else _facts(other)
        findings += [LockFinding(f"{what} of {model.name}", own, b.get(what, _ABSENT)) for what, own in a.items()]
    if locked.run is not None and here.run is not None:
        files = {file.name: file.sha256.hex() for file in here.run.files}
        findings += [
            LockFinding(f"file {file.name}", file.sha256.hex(), files.get(file.name, _ABSENT))
            for file in locked.run.files
        ]
        if locked.version > 1:
            findings.append(LockFinding("now", str(locked.run.now), str(here.run.now)))
        findings.append(LockFinding("result", locked.run.result.hex(), here.run.result.hex()))
    return findings


_ABSENT: Final = "absent"


def _facts(model: LockedModel) -> dict[str, str]:
    digests, numerics = model.digests, model.numerics
    return {
        "weights": digests.weights.hex(),
        "tensors": str(digests.tensors),
        "tokenizer": digests.tokenizer.hex(),
        "end tokens": " ".join(map(str, digests.ends)),
        "template": "none" if digests.template is None else digests.template.hex(),
        "numerics": f"{numerics.version} {numerics.profile} {numerics.bits} bits",
    }


Style = Literal["text", "bibtex"]


def cite(lock: Lock, style: Style = "text") -> str:
    """Return a citation: versions, models by their weights, and the lock's own digest."""
    digest = lock.digest.hex()
    models = ", ".join(
        f"{Path(model.name).name} (weights sha256:{model.digests.weights.hex()})" for model in lock.models
    )
    numerics = " and ".join(dict.fromkeys(f"{m.numerics.version} ({m.numerics.profile})" for m in lock.models))
    made = f"intact {lock.package}, numerics {numerics}, {models}; lock sha256:{digest}"
    if style == "text":
        return f"Exact results by {made}. To regenerate: intact lock check."
    title = "Exact result of intact" + (" " + lock.run.arguments[0] if lock.run else "")
    return (
        f"@misc{{intact-{digest[:12]},\n"
        f"  title        = {{{_tex(title)}}},\n"
        f"  howpublished = {{{_tex(made)}}},\n"
        f"  note         = {{Regenerate with \\texttt{{intact lock check}}}}\n"
        "}"
    )


def _tex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, "\\" + c if c in "&%$#_{}" else c) for c in text)
