"""The local model that answers requests which no recording has."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from intact.serve.background import check_model, serving

if TYPE_CHECKING:
    from intact.serve.models import Models


class LocalModel:
    """A model that is served from a thread of this process once it is needed.

    Parameters
    ----------
    model : str
        Name or file.

    Attributes
    ----------
    name : str
        The model's name in recordings, without the folders of this machine.

    Raises
    ------
    IntactError
        If it is not here, or packages that the server needs are not installed.
    """

    def __init__(self, model: str) -> None:
        self._path = check_model(model)
        self.name = Path(model).name
        self._lock, self._open, self._url = threading.Lock(), ExitStack(), ""
        self._models: Models | None = None

    def start(self) -> str:
        """Return the address of its server, which is started if necessary; the first request loads the model."""
        with self._lock:
            if not self._url:
                self._url, self._models = self._open.enter_context(serving(self._path, any_name=True))
            return self._url

    @property
    def identity(self) -> str:
        """Version of the arithmetic, profile, and the beginning of the digest of its weights, once it is loaded."""
        return self._models.served["intact"].fingerprint if self._models else ""

    def close(self) -> None:
        """Stop the server."""
        self._open.close()
