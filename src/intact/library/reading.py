"""The progress of reading a model's weights."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from intact.checkpoints.formats import Tensor
from intact.models.program import Program

Progress = Callable[[int, int], None]
"""Called with the number of bytes read so far and the total number of bytes."""


class CountedTensors(Mapping[str, Tensor]):
    """A program's tensors that report how many of their stored bytes have been read.

    A tensor counts as read when the next one is requested, since it is converted in between; each counts once.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        The tensors by name.
    notify : callable
        Called whenever a tensor is requested for the first time.
    """

    def __init__(self, tensors: Mapping[str, Tensor], notify: Progress) -> None:
        self._tensors, self._notify = tensors, notify
        self._total = sum(tensor.stored_bytes for tensor in tensors.values())
        self._requested, self._read, self._current = set[str](), 0, 0

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._tensors[name]
        if name not in self._requested:
            self._requested.add(name)
            self._read, self._current = self._read + self._current, tensor.stored_bytes
            self._notify(self._read, self._total)
        return tensor

    def finish(self) -> None:
        """Report that all tensors have been read, and nothing afterwards."""
        self._notify(self._total, self._total)
        self._notify = lambda done, total: None

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


@contextmanager
def reading(program: Program, notify: Progress | None) -> Iterator[Program]:
    """Give a block a program whose tensors report their bytes as they are read; when it ends, all of them are."""
    if notify is None:
        yield program
        return
    tensors = CountedTensors(program.tensors, notify)
    yield replace(program, tensors=tensors)
    tensors.finish()
