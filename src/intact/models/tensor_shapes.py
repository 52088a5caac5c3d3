"""The tensors of an architecture's models, derived only from their hyper-parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from intact.checkpoints.formats import Checkpoint
from intact.models.decoder import Decoder
from intact.models.names import PARTS


def tensor_shapes(
    architecture: type[Decoder], checkpoint: Checkpoint, vocabulary: int, tied: bool
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors that an architecture's program uses, in the usual order of files.

    Parameters
    ----------
    checkpoint : Checkpoint
        Only its metadata is read.
    tied : bool
        If true, the head is the embedding.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    class Described(architecture):  # type: ignore[misc, valid-type]
        def matrix(self, name: str, rows: int | None, columns: int) -> str:
            shapes[name] = (rows or vocabulary, columns)
            return name

        def vector(self, name: str, length: int) -> None:
            shapes[name] = (length,)

    decoder = Described(checkpoint)
    decoder.embed()
    layers = decoder.config.layers
    for i in range(layers):
        decoder.layer(i)
    decoder.finish(tied, vocabulary)
    places = {name: i for i, name in enumerate(shapes)}

    def place(name: str) -> tuple[int, bool, int, bool]:
        """Return a sort key: by layer, with tensors common to all architectures first and a bias after its matrix."""
        layer = int(name.split(".")[1]) if name.startswith("blk.") else layers if "output" in name else -1
        matrix = name.replace(".bias", ".weight")
        return layer, ".post_" in name, places.get(matrix, places[name]), matrix != name

    return {name: shapes[name] for name in sorted(shapes, key=place)}


def fused_shapes(
    shapes: Mapping[str, tuple[int, ...]],
    fused: Iterable[str],
    stacked: bool = True,
    stems: Mapping[str, str] | None = None,
) -> dict[str, tuple[int, ...]]:
    """Return the shapes for files that fuse matrices: `ffn_up` is then gate and up.

    Parameters
    ----------
    stacked : bool
        If true, the matrices of experts are one tensor too, as in GGUF files.
    stems : mapping, optional
        Names of the fused tensors in files, where they differ (`Decoder.gguf_stems`).
    """
    whole = {part: stem for stem in fused for part in PARTS[stem]}
    out: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        parts = name.split(".")
        if stacked and len(parts) == 5 and parts[3].isdigit():
            name = ".".join((*parts[:3], parts[4]))
            out[name] = (int(parts[3]) + 1, *shape)
            continue
        if len(parts) == 4 and parts[2] in whole:
            stem = whole[parts[2]]
            name = ".".join((*parts[:2], (stems or {}).get(stem, stem), parts[3]))
            shape = (out.get(name, (0,))[0] + shape[0], *shape[1:])
        out[name] = shape
    return out
