"""Methods of other packages in receipts: which code a run was made by, and who may verify it.

A receipt states the package's name, version and a digest of its Python files. A verifier needs the same package, and
imports it only where its user names it: never because a receipt does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from intact._base.errors import ParameterError
from intact._base.strict_json import Fields
from intact.reason.registry import METHODS, Method, all_methods
from intact.receipts import canonical


@dataclass(frozen=True)
class MethodPackage:
    """The installed package that a method is from.

    Attributes
    ----------
    name, version : str
        Of the distribution, as `pip` shows them.
    digest : bytes
        SHA-256 of the canonical form of its Python files: an object of their paths and the SHA-256 of each.
    """

    name: str
    version: str
    digest: bytes

    def to_document(self) -> dict[str, Any]:
        """Describe it."""
        return {"name": self.name, "version": self.version, "digest": self.digest.hex()}

    @classmethod
    def from_document(cls, value: Any) -> MethodPackage:
        """Read it."""
        fields = Fields(value, "method.package", ("name", "version", "digest"))
        return cls(fields.text("name"), fields.text("version"), fields.digest("digest"))

    @classmethod
    def of(cls, found: Distribution) -> MethodPackage:
        """Return that of a distribution; its files are read, nothing is imported.

        Raises
        ------
        ParameterError
            If it lists no Python files, as where it is installed in editable mode, or one that cannot be read.
        """
        name = found.metadata["Name"]
        sources = sorted(str(file) for file in found.files or () if file.suffix == ".py")
        if not sources:
            raise ParameterError(
                f"the package {name} lists no Python files, so that a receipt cannot state them: install it as usual, "
                "not in editable mode"
            )
        try:
            read = {file: Path(str(found.locate_file(file))).read_bytes() for file in sources}
        except OSError as error:
            raise ParameterError(f"the package {name} lists files that cannot be read: {error}") from error
        digests = {file: hashlib.sha256(data).hexdigest() for file, data in read.items()}
        return cls(name, found.version, hashlib.sha256(canonical.encode(digests)).digest())


def package_of(method: Method) -> MethodPackage | None:
    """Return the package of a run's method; None for a method of this package.

    Raises
    ------
    ParameterError
        If it is a method of neither: one from a file, or made in a program.
    """
    if all_methods().get(method.name) is method:
        return None
    entry = METHODS.entry(method.name)
    if entry is None or entry.dist is None or METHODS[method.name] is not method:
        raise ParameterError(
            f"{method.name} is a method of no installed package: a receipt can only name one that others can install"
        )
    return MethodPackage.of(entry.dist)


def refusal(method: str, package: MethodPackage, allowed: Collection[str]) -> str | None:
    """Return why a run by a method of another package cannot be verified here, or None; nothing is imported.

    Parameters
    ----------
    allowed : collection of str
        The packages that the verifier's user has named.
    """
    stated = f"the method {method!r:.80} is of the package {package.name!r:.80} {package.version:.40}"
    if method in all_methods():
        return f"{stated}, but intact has a method of this name itself"
    if package.name not in allowed:
        return f"{stated}, which is imported only if you name it: --package {package.name:.80}"
    try:
        here = MethodPackage.of(distribution(package.name))
    except PackageNotFoundError:
        return f"{stated}, which is not installed"
    except ParameterError as error:
        return f"{stated}; {error}"
    entry = METHODS.entry(method)
    if entry is None or entry.dist is None or entry.dist.metadata["Name"] != package.name:
        return f"{stated}, which provides no such method here"
    if here != package:
        other = f"version {here.version}" if here.version != package.version else "other files of this version"
        return f"{stated}; installed is {other}"
    return None


def method_of(name: str, package: MethodPackage | None) -> Method:
    """Return the method of a run that `refusal` does not refuse."""
    return all_methods()[name] if package is None else METHODS[name]
