"""What a distribution requires, extra by extra, as pip would follow it."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_REQUIREMENT = re.compile(r"\s*([\w.-]+)\s*(?:\[([^\]]*)\])?[^;]*(?:;.*\bextra\s*==\s*['\"]([\w.-]+)['\"])?")


class Required(NamedTuple):
    """A package that is required, with extras of it; under an extra, or always."""

    name: str
    extras: frozenset[str]
    extra: str | None


def required(lines: Iterable[str]) -> Iterator[Required]:
    """Read the values of `Requires-Dist`."""
    for line in lines:
        found = _REQUIREMENT.match(line)
        assert found, line
        extras = frozenset(map(normal, filter(None, re.split(r"[\s,]+", found[2] or ""))))
        yield Required(normal(found[1]), extras, found[3] and normal(found[3]))


def resolve(own: str, lines: Iterable[str], extras: Iterable[str] = ()) -> set[str]:
    """Return the names of what is required with extras: those of the distribution itself are followed."""
    known, found, left = list(required(lines)), set[str](), {None, *map(normal, extras)}
    done = set[str | None]()
    while left:
        extra = left.pop()
        done.add(extra)
        for one in known:
            if one.extra == extra and one.name == normal(own):
                left |= one.extras - done
            elif one.extra == extra:
                found.add(one.name)
    return found


def normal(name: str) -> str:
    """Return a name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
