"""Profiles of arithmetic: what `--profile` names, and receipts state.

A profile is ``fp32``, or the scheme of activations of the integer arithmetic (``int8`` is the usual one), with a rule
of sparse activations behind it where there is one: ``int8``, ``mxfp4``, ``int8+wina50``. Each has bits of its own.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, TypeAlias

from intact.errors import ParameterError
from intact.numerics.activations import INT8, SCHEMES, Scheme
from intact.numerics.sparsity import RULES, Sparsity

Profile: TypeAlias = str
PROFILES: Final = (*SCHEMES, "fp32")
"""Profiles without sparse activations."""
_FORM: Final = re.compile(rf"({'|'.join(SCHEMES)})(?:\+({'|'.join(RULES)})([1-9][0-9]?))?")


class ProfileParts(NamedTuple):
    """A profile, read.

    Attributes
    ----------
    scheme : Scheme
        Of the rows that enter products; the head's are always int8.
    sparsity : Sparsity or None
        Which of their inputs stay.
    """

    float32: bool
    scheme: Scheme = INT8
    sparsity: Sparsity | None = None

    @property
    def for_linear_alone(self) -> bool:
        """If true, neither experts nor adapters can run in it."""
        return self.scheme.wide or self.scheme.static or self.sparsity is not None


def parse_profile(profile: Profile) -> ProfileParts:
    """Read a profile.

    Raises
    ------
    ParameterError
        If there is none of that name.

    Examples
    --------
    >>> parse_profile("int8+wina50").sparsity
    Sparsity(rule='wina', percent=50)
    """
    if profile == "fp32":
        return ProfileParts(True)
    match = _FORM.fullmatch(profile) if isinstance(profile, str) else None
    if match is None:
        raise ParameterError(
            f"profile must be one of {', '.join(PROFILES)}, the integer ones perhaps with +RULE and a per cent from 1 "
            f"to 99, such as int8+wina50 (rules: {', '.join(RULES)}); got {profile!r:.60}"
        )
    scheme, rule, percent = match.groups()
    if rule and SCHEMES[scheme].wide:
        raise ParameterError(f"profile must have activations of bytes to be sparse, got {profile!r:.60}")
    return ProfileParts(False, SCHEMES[scheme], Sparsity(rule, int(percent)) if rule else None)
