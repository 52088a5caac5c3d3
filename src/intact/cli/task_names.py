"""Names of tasks as commands take them: with the split of an old option, or the sample where the full set is absent."""

from __future__ import annotations

from intact._base.errors import ParameterError
from intact.cli.output import note, note_old_form


def task_name(text: str, split: str | None = None) -> str:
    """Return the name of a task whose problems are here, and say on stderr where it is not the name that was given.

    Parameters
    ----------
    text : str
        What `intact.tasks.choose.choose` takes.
    split : str, optional
        The value of ``--split``, the older spelling of ``NAME:split=...``.

    Raises
    ------
    ParameterError
        If there is no such task, or a split is given in both spellings.
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
