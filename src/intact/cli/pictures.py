"""Matplotlib plots, written completely or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from intact._base.errors import NotInstalledError, ParameterError
from intact._base.files import write_whole
from intact._base.markup.render import visible
from intact._base.packages import install

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESOLUTION = 150
"""Resolution of bitmap plots, in dots per inch."""


def check_plot(path: Path) -> None:
    """Raise, before the measurements, if the plot could not be written."""
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError:
        raise NotInstalledError(f"--plot needs matplotlib: {install('matplotlib')}") from None
    kinds = Canvas().canvas.get_supported_filetypes()
    if path.suffix[1:] not in kinds:
        raise ParameterError(f"--plot {path}: the name must end with one of .{', .'.join(sorted(kinds))}")


def save_picture(figure: Figure, path: Path) -> None:
    """Save a figure in the format of the file's extension; characters that SVG does not allow become U+FFFD.

    Raises
    ------
    OSError
        If the file cannot be written; its `filename` is `path`.
    """
    out, kind = io.BytesIO(), path.suffix.removeprefix(".").lower()
    figure.savefig(out, format=kind, dpi=RESOLUTION)
    write_whole(path, visible(out.getvalue().decode()) if kind == "svg" else out.getvalue())
