"""Methods of other packages in receipts: identify the code that produced a run, and decide whether to import it.

A receipt states the package's name, its version and a digest of its Python files. A verifier needs the same package,
and imports it only if the user names it, never because a receipt names it.
"""

from __future__ import annotations

import csv
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
    """The installed package that provides a method.

    Attributes
    ----------
    name, version : str
        The name and version of the distribution, as shown by `pip`.
    digest : bytes
        SHA-256 of a canonical JSON object that maps the paths of its Python files to their SHA-256.
    """

    name: str
    version: str
    digest: bytes

    def to_document(self) -> dict[str, Any]:
        """Return the value as a JSON object."""
        return {"name": self.name, "version": self.version, "digest": self.digest.hex()}

    @classmethod
    def from_document(cls, value: Any) -> MethodPackage:
        """Parse the result of `to_document`."""
        fields = Fields(value, "method.package", ("name", "version", "digest"))
        return cls(fields.text("name"), fields.text("version"), fields.digest("digest"))

    @classmethod
    def of(cls, found: Distribution) -> MethodPackage:
        """Describe a distribution; its files are read, but nothing is imported.

        Raises
        ------
        ParameterError
            If the distribution lists no Python files, as in editable mode, or lists one that cannot be read.
        """
        name = found.metadata["Name"]
        record = csv.reader((found.read_text("RECORD") or "").splitlines())  # later Pythons' `files` lacks missing ones
        sources = sorted(row[0] for row in record if row and row[0].endswith(".py"))
        if not sources:
            raise ParameterError(
                f"the package {name} lists no Python files, which a receipt must state: install it normally, "
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
        If the method does not belong to an installed package because it comes from a file or was created by a program.
    """
    if all_methods().get(method.name) is method:
        return None
    entry = METHODS.entry(method.name)
    if entry is None or entry.dist is None or METHODS[method.name] is not method:
        raise ParameterError(
            f"{method.name} belongs to no installed package: a receipt can only name a method that others can install"
        )
    return MethodPackage.of(entry.dist)


def refusal(method: str, package: MethodPackage, allowed: Collection[str]) -> str | None:
    """Say why a run by a method of another package cannot be verified here; return None if it can. Nothing is imported.

    Parameters
    ----------
    allowed : collection of str
        The packages that the user of the verifier has named.
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
    """Return the method of a run that `refusal` accepts."""
    return all_methods()[name] if package is None else METHODS[name]
