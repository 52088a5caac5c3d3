"""Command help: common options and a few examples with `--help`, everything with `--help-all`; `intact help`."""

from __future__ import annotations

import copy
from typing import Annotated, Any

import typer
from typer.core import TyperOption

from intact._base.errors import ParameterError
from intact._base.suggest import did_you_mean
from intact.cli.options import Advanced
from intact.cli.output import examples

EXAMPLES = """\
All commands by group
  intact help all
The common options of a command with examples, then all of its options
  intact help solve
  intact solve --help-all
A subcommand
  intact help receipt show
"""
_ALL = "intact.cli.help.all"
"""Key in a context's `meta` that requests the full help."""
_SHORT_EXAMPLES = 3
"""Number of examples in the short help of a command that has advanced options."""


def is_advanced(parameter: Any) -> bool:
    """Return true if an option is shown only by `--help-all`."""
    return isinstance(parameter, TyperOption) and isinstance(parameter.rich_help_panel, Advanced)


class WithHelp:
    """Mixin for commands and groups: help that ends with examples (the epilog), in a short and a full form."""

    epilog: str | None
    params: list[Any]
    _help_all: Any = None

    @property
    def is_long(self) -> bool:
        """If true, the full help shows more than the short help."""
        return any(map(is_advanced, self.params))

    def shortened(self) -> Any:
        """Return a copy of this command reduced to its short help."""
        short = copy.copy(self)
        short.params = [one for one in self.params if not is_advanced(one)]
        short.epilog = _first_examples(self.epilog or "")
        return short

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, with `--help-all` derived from `--help`, whose callback prints the help."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        if self._help_all is None:
            self._help_all = option = copy.copy(params[-1])
            option.name, option.opts, option.callback = "help_all", ["--help-all"], _show_all
            option.help = "Show all options and examples."
            option.hidden = not self.is_long
        return [*params, self._help_all]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, followed by the examples verbatim."""
        page = copy.copy(self) if ctx.meta.get(_ALL) or not self.is_long else self.shortened()
        epilog, page.epilog = page.epilog, None
        super(WithHelp, page).format_help(ctx, formatter)  # type: ignore[misc]
        examples(epilog or "")


def _show_all(ctx: Any, parameter: Any, wanted: bool) -> None:
    """Print the full help and exit."""
    if wanted and not ctx.resilient_parsing:
        show_help(ctx, everything=True)
        ctx.exit()


def show_help(ctx: Any, *, everything: bool = False) -> None:
    """Print the help of a context's command."""
    ctx.meta[_ALL] = everything
    typer.echo(ctx.command.get_help(ctx))  # get_help has printed it; this adds the same rest as `--help`


def _first_examples(text: str) -> str:
    """Return the first examples, each a heading with its commands."""
    kept: list[str] = []
    headings, before = 0, ""
    for line in text.splitlines():
        headings += not line.startswith("  ") and (not kept or before.startswith("  "))
        if headings > _SHORT_EXAMPLES or not line:
            break
        kept.append(line)
        before = line
    return "\n".join(kept) + "\n" * bool(kept)


def command(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[COMMAND]", help="Command name, or all for the full list.", show_default=False),
    ] = None,
) -> None:
    """List the commands, or show the help of one."""
    ctx: Any = context.find_root()
    if words == ["all"]:
        show_help(ctx, everything=True)
        return
    for word in words or []:
        known = getattr(ctx.command, "commands", {})
        if word not in known:
            hint = did_you_mean(word, known) or "intact help all lists them"
            raise ParameterError(f"{ctx.command_path} has no command {word!r:.60}: {hint}")
        ctx = known[word].make_context(word, [], parent=ctx, resilient_parsing=True)
    show_help(ctx)
