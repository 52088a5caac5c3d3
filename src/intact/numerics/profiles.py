"""Arithmetic profiles: the values of `--profile`, which receipts record.

A profile is ``fp32`` or an activation scheme of the integer arithmetic (``int8`` is the default), optionally followed
by a rule for sparse activations and a codec of the KV cache: ``int8``, ``mxfp4``, ``int8+wina50``, ``int8+kv-int4``.
Each profile produces different bits.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple, TypeAlias

from intact._base.errors import ParameterError
from intact._base.suggest import unknown_name
from intact.numerics.activations import INT8, SCHEMES, Scheme
from intact.numerics.kv_codecs import CODECS, KvCodec
from intact.numerics.kv_codecs.definition import plain_bytes
from intact.numerics.sparsity import RULES, Sparsity

Profile: TypeAlias = str
PROFILES: Final = (*SCHEMES, "fp32")
"""Profiles without sparse activations or a codec."""
_KV: Final = "+kv-"
_FORM: Final = re.compile(
    rf"({'|'.join(SCHEMES)})(?:\+({'|'.join(RULES)})([1-9][0-9]?))?(?:\+kv-({'|'.join(CODECS)}))?"
)


class ProfileParts(NamedTuple):
    """The parts of a profile.

    Attributes
    ----------
    scheme : Scheme
        Scheme of the rows that enter products; the head always uses int8.
    sparsity : Sparsity or None
        Rule that selects the inputs to keep.
    codec : KvCodec or None
        Codec of the keys and values in pages.
    """

    float32: bool
    scheme: Scheme = INT8
    sparsity: Sparsity | None = None
    codec: KvCodec | None = None

    @property
    def for_linear_alone(self) -> bool:
        """True if the profile supports neither experts nor adapters."""
        return self.scheme.wide or self.scheme.static or self.sparsity is not None


def parse_profile(profile: Profile) -> ProfileParts:
    """Parse a profile.

    Raises
    ------
    ParameterError
        If there is no profile with that name.

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
            f"to 99, such as int8+wina50 (rules: {', '.join(RULES)}), and with +kv-CODEC, such as int8+kv-int4 "
            f"(codecs: {', '.join(CODECS)}); got {profile!r:.60}"
        )
    scheme, rule, percent, codec = match.groups()
    if rule and not SCHEMES[scheme].takes_sparsity:
        takes = ", ".join(name for name, one in SCHEMES.items() if one.takes_sparsity)
        raise ParameterError(f"profile: sparse inputs go with {takes}; got {profile!r:.60}")
    sparsity = Sparsity(rule, int(percent)) if rule else None
    return ProfileParts(False, SCHEMES[scheme], sparsity, CODECS[codec] if codec else None)


def with_codec(profile: Profile, kv: str | None) -> Profile:
    """Add the KV cache codec of the given name to a profile; None leaves the profile unchanged.

    Raises
    ------
    ParameterError
        If the codec or profile is unknown, or if the profile stores keys and values as floats or already includes a
        codec.

    Examples
    --------
    >>> with_codec("int8", "int4")
    'int8+kv-int4'
    """
    parts = parse_profile(profile)
    if kv is None:
        return profile
    if not isinstance(kv, str) or kv not in CODECS:
        raise ParameterError(unknown_name(f"kv: there is no codec {kv!r:.60}", str(kv), list(CODECS)))
    if parts.float32:
        raise ParameterError(f"kv: fp32 keeps keys and values as floats; the codec {kv} needs an integer profile")
    if parts.codec is not None:
        if parts.codec.name != kv:
            raise ParameterError(f"kv: the profile {profile} has the codec {parts.codec.name} already, got {kv}")
        return profile
    return f"{profile}{_KV}{kv}"


def describe_codecs() -> list[dict[str, Any]]:
    """Describe each codec: name, summary, bits, and bytes per position of a head of width 128."""
    return [
        {
            "name": codec.name,
            "summary": codec.summary,
            "key_bits": codec.key_bits,
            "value_bits": codec.value_bits,
            "bytes": codec.position_bytes(128),
            "bytes_without": plain_bytes(128),
        }
        for codec in CODECS.values()
    ]
