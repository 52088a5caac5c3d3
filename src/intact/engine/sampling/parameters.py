"""Sampling parameters: the definition of each, and validated sets of values. Imports nothing heavy."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypedDict, TypeVar, cast

from intact._base.errors import ParameterError, PluginError
from intact._base.suggest import unknown_name
from intact.engine.sampling.definitions import Definition
from intact.engine.sampling.rules import RULES

if TYPE_CHECKING:
    from intact.numerics.sampling import Sampling

T = TypeVar("T")
ConstraintKind = Literal["json_schema", "regex", "grammar"]
CONSTRAINTS: tuple[ConstraintKind, ...] = ("json_schema", "regex", "grammar")
MOST_TOP_LOGPROBS = 20


class Constraint(NamedTuple):
    """A condition on the generated text: its kind, and the schema, expression or grammar as a string."""

    kind: ConstraintKind
    text: str


class SamplingFields(TypedDict, total=False):
    """The types of `SamplingParameters` as keyword arguments, for type checkers."""

    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    seed: int
    stop: str | Sequence[str]
    min_tokens: int
    typical_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    logit_bias: Mapping[int, float]
    ignore_eos: bool
    stop_below: float
    stop_mean_below: float
    stop_window: int
    top_logprobs: int
    json_schema: str | Mapping[str, Any] | None
    regex: str | None
    grammar: str | None


def _field(definition: Definition) -> Any:
    return field(default=definition.default, metadata={"definition": definition})


def _parameter(**definition: Any) -> Any:
    return _field(Definition(**definition))


def _with_rules(cls: type[T]) -> type[T]:
    """Add the parameters of sampling rules that are defined in files or packages of their own."""
    for name, rule in RULES.working().items():
        if name in cls.__annotations__:
            raise PluginError(f"{RULES.origin(name)}: the sampling rule {name!r} has the name of an existing parameter")
        cls.__annotations__[name] = Any
        setattr(cls, name, _field(rule.definition))
    return cls


@dataclass(frozen=True)
@_with_rules
class SamplingParameters:
    """Sampling parameters; docs/sampling.md gives the formulas and their order.

    A float means the decimal number that it prints as, with at most 6 decimal places. Stop strings become a tuple,
    `logit_bias` becomes sorted pairs of token and number, and a schema becomes its JSON.

    Raises
    ------
    ParameterError
        If a value is invalid or contradicts another.
    """

    max_tokens: int = _parameter(
        kind="integer",
        default=128,
        low=1,
        values="1 or more",
        usual="see below",
        effect="the text ends there",
        help="Maximum number of tokens to generate.",
        metavar="N",
        common=True,
        http="endpoint",
        methods=True,
    )
    temperature: float = _parameter(
        kind="decimal",
        default=0.0,
        high=1000,
        effect="p is proportional to exp(z / temperature); 0 chooses the largest z",
        help="Sampling temperature; 0 is greedy.",
        common=True,
        methods=True,
    )
    top_p: float = _parameter(
        kind="decimal",
        default=1.0,
        high=1,
        above=True,
        effect="keeps the fewest tokens, likeliest first, whose p add up to at least top_p",
        source="Holtzman et al. 2020, arXiv 1904.09751",
        help="Nucleus sampling: the probability mass to keep.",
        common=True,
        methods=True,
    )
    top_k: int = _parameter(
        kind="integer",
        default=0,
        values="0 (all) or more",
        effect="keeps the k tokens with the largest logits; in ties, those with the smallest ids",
        source="Fan et al. 2018, arXiv 1805.04833",
        help="Number of likeliest tokens to keep; 0 keeps all.",
        methods=True,
    )
    min_p: float = _parameter(
        kind="decimal",
        default=0.0,
        high=1,
        effect="keeps tokens with at least min_p times the largest p",
        source="Nguyen et al. 2024, arXiv 2407.01082",
        help="Minimum probability of a token, as a share of the likeliest token's.",
        methods=True,
    )
    seed: int = _parameter(
        kind="integer",
        default=0,
        low=-(1 << 63),
        high=(1 << 64) - 1,
        values="64 bits",
        effect="forms the key of all draws, with the prompt's name and the sample's number",
        help="Seed of the draws.",
        common=True,
    )
    stop: tuple[str, ...] = _parameter(
        kind="stops",
        default=(),
        values="texts",
        usual="none",
        effect="the text ends before the first of them",
        help="Stop string (\\n is a line feed); repeatable.",
        metavar="TEXT",
        common=True,
        http="endpoint",
        methods=True,
    )
    min_tokens: int = _parameter(
        kind="integer",
        default=0,
        values="0 to `max_tokens`",
        effect="no end token can be drawn before this many tokens",
        help="Minimum number of tokens before an end token.",
    )
    typical_p: float = _parameter(
        kind="decimal",
        default=1.0,
        high=1,
        above=True,
        effect="keeps the fewest tokens whose p add up to at least typical_p, those first whose surprisal -log p is "
        "nearest to the entropy; in ties, the likelier one",
        source="Meister et al. 2023, arXiv 2202.00666",
        help="Locally typical sampling: the probability mass to keep.",
    )
    repetition_penalty: float = _parameter(
        kind="decimal",
        default=1.0,
        high=100,
        above=True,
        effect="for tokens of the prompt and the text: z / penalty where z > 0, z * penalty otherwise",
        source="Keskar et al. 2019, arXiv 1909.05858",
        help="Penalty on tokens of the prompt and the answer; 1 disables it.",
    )
    presence_penalty: float = _parameter(
        kind="decimal",
        default=0.0,
        low=-2,
        high=2,
        effect="z - penalty where c > 0",
        source="as OpenAI's and vLLM's",
        help="Penalty on tokens that are already in the answer; 0 disables it.",
    )
    frequency_penalty: float = _parameter(
        kind="decimal",
        default=0.0,
        low=-2,
        high=2,
        effect="z - penalty * c",
        source="as OpenAI's and vLLM's",
        help="Penalty on tokens by their count in the answer; 0 disables it.",
    )
    logit_bias: Mapping[int, float] | tuple[tuple[int, float], ...] = _parameter(
        kind="biases",
        default=(),
        values="token ids to numbers of -100 to 100, or -inf",
        usual="none",
        effect="z + bias; -inf forbids the token",
        source="as OpenAI's",
        help="Bias added to a token's logit; repeatable.",
        metavar="TOKEN=NUMBER",
        http="endpoint",
    )
    ignore_eos: bool = _parameter(
        kind="flag",
        default=False,
        values="true, false",
        usual="false",
        effect="the text continues after an end token",
    )
    stop_below: float = _parameter(
        kind="decimal",
        default=0.0,
        high=1,
        effect="the text ends before a token where the largest p is below it, as `uncertain`",
        source="Fei et al. 2024, arXiv 2410.09300",
        http="intact",
        later=True,
    )
    stop_mean_below: float = _parameter(
        kind="decimal",
        default=0.0,
        low=-100,
        high=0,
        effect="the text ends with a token where the mean of log p over the last `stop_window` tokens is below it, as "
        "`unlikely`; 0: never",
        source="after Sun et al. 2024, arXiv 2401.09964",
        help="Stop once the mean log-probability of the last tokens, in nats, falls below this.",
        http="intact",
        methods=True,
        later=True,
    )
    stop_window: int = _parameter(
        kind="integer",
        default=16,
        low=1,
        values="1 or more",
        effect="number of tokens in that mean; shorter texts continue",
        help="Number of tokens in the mean of --stop-mean-below.",
        http="intact",
        methods=True,
        later=True,
    )
    top_logprobs: int = _parameter(
        kind="integer",
        default=0,
        high=MOST_TOP_LOGPROBS,
        effect="number of likeliest tokens that are reported with each token",
        http="endpoint",
        draws=False,
    )
    json_schema: str | Mapping[str, Any] | None = _parameter(
        kind="schema",
        values="a schema",
        usual="none",
        effect="the text is JSON that fits it",
        source="llguidance",
        help="JSON schema of the answer: a file, or the schema itself.",
        metavar="SCHEMA",
        common=True,
        http="endpoint",
    )
    regex: str | None = _parameter(
        kind="text",
        values="an expression",
        usual="none",
        effect="the whole text matches it",
        source="llguidance",
        help="Regular expression that the whole answer must match.",
        http="intact",
    )
    grammar: str | None = _parameter(
        kind="text",
        values="a grammar in Lark's notation",
        usual="none",
        effect="the text is a sentence of it",
        source="llguidance",
        help="Lark grammar of the answer: a file, or the grammar itself.",
        http="intact",
    )

    def __post_init__(self) -> None:
        for name, definition in DEFINITIONS.items():
            object.__setattr__(self, name, definition.check(name, getattr(self, name)))
        if self.min_tokens > self.max_tokens:
            raise ParameterError(f"min_tokens is {self.min_tokens}, but max_tokens is only {self.max_tokens}")
        if "stop_window" in self.changed and not self.stop_mean_below:
            raise ParameterError(f"stop_window is {self.stop_window}, but it has no effect without stop_mean_below")
        given = [name for name in CONSTRAINTS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ParameterError(f"{' and '.join(given)} are given, but a text can have only one constraint")
        if given and self.ignore_eos:
            raise ParameterError(f"ignore_eos contradicts {given[0]}: a text that matches must end with an end token")

    @property
    def sampling(self) -> Sampling:
        """Temperature and filters as exact integers."""
        from intact.numerics.sampling import make_sampling

        return make_sampling(self.temperature, self.top_k, self.top_p, self.min_p, typical=self.typical_p)

    @property
    def biases(self) -> tuple[tuple[int, float], ...]:
        """`logit_bias` as sorted pairs of token and bias."""
        return cast(tuple[tuple[int, float], ...], self.logit_bias)

    @property
    def constraint(self) -> Constraint | None:
        """The constraint on the text, if any."""
        for kind in CONSTRAINTS:
            if (text := getattr(self, kind)) is not None:
                return Constraint(kind, text)
        return None

    @property
    def has_rules(self) -> bool:
        """True if penalties, biases, a constraint or an added rule may change logits."""
        return not self.changed.keys() <= _WITHOUT_RULES

    @property
    def changed(self) -> dict[str, Any]:
        """The values that differ from their defaults, by name."""
        return {name: v for name, one in DEFINITIONS.items() if (v := getattr(self, name)) != one.default}

    def check_tokens(self, vocabulary: int) -> None:
        """Raise if a token is outside the model's vocabulary.

        Raises
        ------
        ParameterError
            If `logit_bias` names a token outside the vocabulary.
        """
        for token, _ in self.biases:
            if token >= vocabulary:
                raise ParameterError(f"logit_bias names token {token}; this model's tokens are 0 to {vocabulary - 1}")

    def to_json(self) -> str:
        """Serialise the values that differ from their defaults in canonical form: sorted, without spaces."""
        changed = self.changed
        if "logit_bias" in changed:
            changed["logit_bias"] = {str(t): "-inf" if b == -math.inf else b for t, b in changed["logit_bias"]}
        return json.dumps(changed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> SamplingParameters:
        """Parse the output of `to_json`.

        Raises
        ------
        ParameterError
            If the text is not such an object, or a value is invalid.
        """
        try:
            given = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ParameterError(f"sampling parameters must be a JSON object: {error}") from error
        if not isinstance(given, dict):
            raise ParameterError(f"sampling parameters must be a JSON object, got {text!r:.60}")
        if isinstance(bias := given.get("logit_bias"), dict):
            given["logit_bias"] = {_token(t): -math.inf if b == "-inf" else b for t, b in bias.items()}
        return cls.by_name(given)

    @classmethod
    def by_name(cls, given: Mapping[str, Any]) -> SamplingParameters:
        """Create parameters from a mapping of names to values; the other parameters keep their defaults.

        Raises
        ------
        ParameterError
            If a name is unknown, or a value is invalid.
        """
        for name in given:
            if name not in DEFINITIONS:
                problem = f"{name!r:.60} is not a sampling parameter"
                raise ParameterError(unknown_name(problem, name, DEFINITIONS))
        return cls(**given)


DEFINITIONS: Final[dict[str, Definition]] = {f.name: f.metadata["definition"] for f in fields(SamplingParameters)}
"""Definition of each parameter by name, in the order of `SamplingParameters`."""


_WITHOUT_RULES: Final = {
    *("max_tokens", "temperature", "top_p", "top_k", "min_p", "typical_p"),
    *("seed", "stop", "ignore_eos", "stop_below", "stop_mean_below", "stop_window", "top_logprobs"),
}
"""Parameters that do not change logits; all others are rules."""


def _token(name: str) -> int | str:
    """Parse a token as `to_json` writes it; leave any other string unchanged, so no two strings name the same token."""
    return int(name) if re.fullmatch("0|[1-9][0-9]{0,9}", name) else name
