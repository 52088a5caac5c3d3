"""Tasks as named on the command line: ``gsm8k``, ``gsm8k:split=train``, ``gsm_ranges:level=3,seed=7``.

``gsm8k:sample=100`` is the sample of the task's problems that ships with the package. It is a separate set, as its
label shows: only `available` substitutes it for the full set, if that is absent.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from intact._base.errors import ParameterError
from intact._base.suggest import unknown_name
from intact.reason.problem import Problem
from intact.tasks.data import SAMPLE_SIZE, SAMPLES, data_folder, find_file
from intact.tasks.digits import DIGITS, EXAMPLE, INSTRUCTIONS, check_grouping, write_digits
from intact.tasks.numeric import Numeric
from intact.tasks.prompting import PROMPTS, check_prompt, problem_of
from intact.tasks.task import Item, Style, Task, all_tasks, find_task

if TYPE_CHECKING:
    from intact.text import Tokenizer

STYLES = ("chat", "base")
CUTS = ("any", "stated")
OPTIONS: Final[dict[str, Any]] = {
    "style": None, "shots": None, "cut": CUTS[0], "digits": DIGITS[0], "prompt": next(iter(PROMPTS)),
}  # fmt: skip
"""Options of every task other than its split, with their defaults: they control how problems are asked and read."""


class Chosen(NamedTuple):
    """A task with its parameters and options.

    Attributes
    ----------
    parameters : mapping
        All parameters that its items depend on.
    split : str
        The split to load.
    style : {'chat', 'base'} or None
        The form of the prompt; None: whichever suits the model.
    shots : int or None
        Number of examples before the question; None: the default of the style.
    cut : {'any', 'stated'}
        The answers of truncated completions that count: any answer that can be read, or only those explicitly stated as
        the answer.
    digits : {'given', 'grouped', 'plain'}
        The form of long numbers in questions and examples (`intact.tasks.digits`).
    prompt : {'steps', 'direct', 'reflective'}
        The prompt type (`intact.tasks.prompting`).
    sample : int or None
        The size of the sample that replaces the file; None: the file itself.
    """

    task: Task
    parameters: dict[str, Any]
    split: str
    style: Style | None = None
    shots: int | None = None
    cut: str = CUTS[0]
    digits: str = DIGITS[0]
    prompt: str = OPTIONS["prompt"]
    sample: int | None = None

    @classmethod
    def of(cls, task: Task | Chosen) -> Chosen:
        """Wrap a task with the defaults of all options; return a `Chosen` unchanged."""
        return task if isinstance(task, Chosen) else cls(task, {}, "")

    def load(self, limit: int | None = None) -> list[Item]:
        """Return the first items."""
        return self.task.load(self.split, limit, None if self.sample is None else SAMPLES)

    def read(self, item: Item, text: str | None, cut: bool) -> str | None:
        """Return the answer in a completion without its thinking; None if `text` is None (there is only thinking).

        Parameters
        ----------
        cut : bool
            If true, the completion was truncated.
        """
        if text is None:
            return None
        stated = cut and self.cut == "stated"
        return self.task.read_stated(item, text) if stated else self.task.read_for(item, text)

    def problem(self, item: Item, style: Style, seed: int) -> Problem:
        """Return an item in the form that methods see, with the chosen options applied."""
        task, written = self.task, item
        if self.digits != DIGITS[0]:
            task, written = self._with_digits, replace(item, question=write_digits(item.question, self.digits))
        problem = problem_of(task, written, self.prompt, style, seed=seed, shots=self.shots)
        return replace(problem, read_cut=partial(self.task.read_stated, item)) if self.cut == "stated" else problem

    @property
    def _with_digits(self) -> Task:
        """The task with its examples in the form of `digits`, one more example, and an instruction."""
        changed = copy.copy(self.task)
        shots = [tuple(write_digits(text, self.digits) for text in pair) for pair in (EXAMPLE, *self.task.shots)]
        instruction = f"{self.task.instruction} {INSTRUCTIONS[self.digits]}".strip()
        vars(changed).update(instruction=instruction, shots=tuple(shots))
        return changed

    def check_tokenizer(self, tokenizer: Tokenizer | None) -> str:
        """Return a warning about the options for a model with this tokenizer, or an empty string.

        Parameters
        ----------
        tokenizer : Tokenizer or None
            None if it is not known.

        Raises
        ------
        ParameterError
            If an option can have no effect with this tokenizer.
        """
        if self.digits != "grouped":
            return ""
        if tokenizer is None:
            return (
                f"{self.label}: the endpoint's tokenizer is unknown; if it reads each digit separately, "
                "digits=grouped has no effect"
            )
        try:
            check_grouping(tokenizer)
        except ParameterError as error:
            raise ParameterError(f"{self.label}: {error}") from None
        return ""

    @property
    def label(self) -> str:
        """The name with all parameters and options that differ from their defaults."""
        usual = parameters_of(type(self.task))
        given = {name: value for name, value in self.parameters.items() if usual.get(name) != value}
        if self.split != next(iter(self.task.files)):
            given["split"] = self.split
        if self.sample is not None:
            given["sample"] = self.sample
        given |= {name: getattr(self, name) for name, usual in OPTIONS.items() if getattr(self, name) != usual}
        options = ",".join(f"{name}={value}" for name, value in given.items())
        name = self.task.called or self.task.name
        return f"{name}:{options}" if options else name


def parameters_of(kind: type[Task]) -> dict[str, Any]:
    """Return the keyword parameters of a task class, with their defaults."""
    if "__init__" not in {name for base in kind.__mro__[:-1] for name in vars(base)}:
        return {}
    found = inspect.signature(kind).parameters.values()
    return {p.name: p.default for p in found if p.kind is inspect.Parameter.KEYWORD_ONLY}


def choose(text: str) -> Chosen:
    """Return the task that a command line names, with its parameters; ``FILE.toml`` is a task of your own.

    Raises
    ------
    ParameterError
        If there is no such task or parameter, or a value is invalid.
    """
    name, _, rest = text.partition(":")
    given = dict(_pairs(name, rest))
    if name.endswith(".toml"):
        from intact.tasks.declared import read_task

        task, own = read_task(Path(name)), {}
        kind = type(task)
    else:
        kind = type(find_task(name))
        own = parameters_of(kind)
    common = {"split", *OPTIONS, *["sample"] * any(map(kind.has_sample, kind.files))}
    for key in given:
        if key not in own and key not in common:
            problem = f"{name} takes no {key!r:.60}"
            raise ParameterError(unknown_name(problem, key, [*own, *sorted(common)], "it takes"))
    parameters = own | {key: _value(name, key, value, own[key]) for key, value in given.items() if key in own}
    if not name.endswith(".toml"):
        task = kind(**parameters)
    split, style = given.get("split", next(iter(task.files))), given.get("style")
    if split not in task.files:
        raise ParameterError(unknown_name(f"{name} has no split {split!r:.60}", split, task.files, "it has"))
    sample = _value(name, "sample", given["sample"], 0) if "sample" in given else None
    if sample is not None:
        _check_sample(name, task, split, sample)
    if style is not None and style not in STYLES:
        raise ParameterError(f"{name}: style must be chat or base, got {style!r}")
    shots = _value(name, "shots", given["shots"], 0) if "shots" in given else None
    digits = given.get("digits", DIGITS[0])
    if digits not in DIGITS:
        raise ParameterError(f"{name}: digits must be {', '.join(DIGITS[:-1])} or {DIGITS[-1]}, got {digits!r}")
    if digits != DIGITS[0] and not isinstance(task, Numeric):
        raise ParameterError(f"{name}: digits={digits} needs a task whose answers are numbers")
    most = len(task.shots) + (digits != DIGITS[0])
    if shots is not None and not 0 <= shots <= most:
        raise ParameterError(f"{name} has {most} examples; shots must be from 0 to {most}, got {shots}")
    cut = given.get("cut", CUTS[0])
    if cut not in CUTS:
        raise ParameterError(f"{name}: cut must be any or stated, got {cut!r}")
    if cut == "stated":
        task.read_stated(Item("", "", "", {}), "")  # raises if the task cannot tell stated answers
    prompt = given.get("prompt", OPTIONS["prompt"])
    check_prompt(task, prompt)
    return Chosen(task, parameters, split, style, shots=shots, cut=cut, digits=digits, prompt=prompt, sample=sample)  # type: ignore[arg-type]


def available(text: str) -> str:
    """Return a task's name unchanged, or with the sample option if the full set is absent and a sample exists.

    Raises
    ------
    ParameterError
        As `choose` does.
    """
    chosen = choose(text)
    file = chosen.task.files[chosen.split]
    if chosen.sample is not None or not chosen.task.has_sample(chosen.split):
        return text
    return text if data_folder().is_file() or find_file(file) else with_option(text, f"sample={SAMPLE_SIZE}")


def with_option(text: str, option: str) -> str:
    """Append one more option, such as ``split=train``, to the name of a task."""
    return f"{text}{',' if ':' in text else ':'}{option}"


def _check_sample(name: str, task: Task, split: str, sample: int) -> None:
    if not task.has_sample(split):
        raise ParameterError(f"{name} has no sample of the split {split} in this package; leave sample={sample} out")
    if sample != SAMPLE_SIZE:
        raise ParameterError(
            f"{name}: the sample has {SAMPLE_SIZE} problems, so sample must be {SAMPLE_SIZE}, got {sample}"
        )


def _pairs(name: str, rest: str) -> Iterator[tuple[str, str]]:
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise ParameterError(f"{name}: parameters must be NAME=VALUE, separated by commas; got {part!r}")
        yield key.strip(), value.strip()


def _value(name: str, key: str, text: str, default: Any) -> Any:
    try:
        return type(default)(text)
    except ValueError:
        raise ParameterError(f"{name}: {key} must be a value such as {default!r}, got {text!r}") from None


def complete(incomplete: str) -> list[str]:
    """Return the names of tasks that begin with an incomplete name."""
    return [name for name in all_tasks() if name.startswith(incomplete)]
