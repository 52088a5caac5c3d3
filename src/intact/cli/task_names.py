"""Task names in commands: add the split of an old option, or fall back to the bundled sample."""

from __future__ import annotations

from intact._base.errors import ParameterError
from intact.cli.output import note, note_old_form


def task_name(text: str, split: str | None = None) -> str:
    """Return the name of a task whose problems are available, and report on stderr if it differs from the given name.

    Parameters
    ----------
    text : str
        Task in the form that `intact.tasks.choose.choose` takes.
    split : str, optional
        Value of ``--split``, the older spelling of ``NAME:split=...``.

    Raises
    ------
    ParameterError
        If the task is unknown, or a split is given in both spellings.
    """
    from intact.tasks.choose import available, choose, with_option

    if split is not None:
        options = text.partition(":")[2].split(",")
        if any(option.partition("=")[0].strip() == "split" for option in options):
            raise ParameterError(f"--split {split} and {text} both name a split: leave --split out")
        text = with_option(text, f"split={split}")
        note_old_form(f"--split {split}", text)
    name = available(text)
    if name != text:
        chosen = choose(name)
        full = f"of the full set; {chosen.task.origin(chosen.split)}"
        note(f"{name}: the first {chosen.sample} problems, which come with intact, in place {full}")
    return name
