"""The model of a command: the option ``-m``, and the positional argument where one exists."""

from __future__ import annotations

import functools
import inspect
from typing import Annotated, Any

import typer

from intact._base.errors import ParameterError
from intact.checkpoints.catalogue import is_name, looks_like_path
from intact.cli.options import Command, complete_model, with_signature
from intact.cli.output import note_old_form

MODEL_HELP = "Name (intact models), hf:OWNER/REPO, or path."
MODEL_OR_ADDRESS_HELP = "Name (intact models), hf:OWNER/REPO, path, or http://HOST/v1#NAME."


def names_model(word: str) -> bool:
    """Return true if a word is a model (a name, or the path of a GGUF file) rather than a prompt or a task."""
    return is_name(word) or (looks_like_path(word) and word.endswith(".gguf"))


def model_option(text: str = MODEL_HELP, **about: Any) -> Any:
    """Return the option ``-m`` of a command, with its help."""
    return typer.Option("--model", "-m", metavar="MODEL", help=text, autocompletion=complete_model, **about)


ModelOption = Annotated[str, model_option()]
ModelOrAddressOption = Annotated[str, model_option(MODEL_OR_ADDRESS_HELP)]
ModelArgument = Annotated[
    str,
    typer.Argument(metavar="MODEL", help=MODEL_HELP, autocompletion=complete_model, show_default=False, hidden=True),
]
"""The model of a command that takes it through ``-m`` or, in the old form, as the first argument (`with_model_option`).
"""
MODEL_ARGUMENTS = ("model", "models")
"""Names of the arguments that ``-m`` can replace."""
GIVEN_MODEL = "given_model"
"""Name of the parameter for ``-m`` in commands that have such an argument."""


def with_model_option(command: Command) -> Command:
    """Add the option ``-m`` to a command that takes models as arguments; return other commands unchanged.

    The command still receives only the argument: `model_first` puts the value of ``-m`` in its place before parsing.
    """
    name = next((one for one in MODEL_ARGUMENTS if one in inspect.signature(command).parameters), "")
    if not name:
        return command
    parameters = inspect.signature(command, eval_str=True).parameters
    about = _argument(parameters[name].annotation)
    if about is None:
        return command
    default = parameters[name].default
    option = model_option(str(about.help), show_default=default if isinstance(default, str) and default else False)
    kind: Any = list[str] if name == "models" else str
    options = {GIVEN_MODEL: (Annotated[kind | None, option], None)}
    options |= {one.name: (one.annotation, one.default) for one in parameters.values()}

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        del given[GIVEN_MODEL]
        command(**given)

    return with_signature(wrapped, options)


def _argument(annotation: Any) -> Any:
    """Return the argument definition in a parameter's annotation; None for an option."""
    about = getattr(annotation, "__metadata__", ())
    return next((one for one in about if type(one) is type(typer.Argument())), None)


def model_first(context: Any, arguments: list[str]) -> list[str]:
    """Return the words of a command line with the model of ``-m`` as the first argument.

    Raises
    ------
    ParameterError
        If the model is given twice.
    """
    params = {one.name: one for one in context.command.params}
    argument = next((params[name] for name in MODEL_ARGUMENTS if name in params and GIVEN_MODEL in params), None)
    if argument is None:
        return arguments
    options, _, _ = context.command.make_parser(context).parse_args(list(arguments))
    given, word = _words(options.get(GIVEN_MODEL)), next(iter(_words(options.get(argument.name))), "")
    path, alone = context.command_path, sum(one.param_type_name == "argument" for one in params.values()) == 1
    if given and word and (alone or (not argument.hidden and names_model(word))):
        raise ParameterError(f"{path} got two models, {given[0]!r} from -m and {word!r} as an argument: give only one")
    if context.resilient_parsing or not argument.hidden or options.get("help") or options.get("help_all"):
        return [*given, *arguments]
    if word and not given:
        note_old_form(f"{path} {word}", f"{path} -m {word}")
    if argument.required and not word and not given:
        context.fail("Missing option '--model' / '-m'.")
    return [*given, *arguments]


def _words(value: Any) -> list[str]:
    """Return the values given for a parameter as a list."""
    return [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else []
