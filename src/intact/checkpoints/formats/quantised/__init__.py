"""Checkpoints quantised by other tools. Each form is defined in one file and combines a matrix's parts into one tensor.

docs/quantizing.md lists the forms and states what each one preserves exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from intact._base.errors import FormatError
from intact._base.plugins import pieces
from intact.checkpoints.formats.metadata import Metadata
from intact.checkpoints.formats.quantised.form import QuantisedForm
from intact.checkpoints.formats.quantised.parts import MatrixParts
from intact.checkpoints.formats.safetensors import read_json
from intact.checkpoints.formats.tensor import Tensor, quote_name
from intact.numerics.integers import INTEGER

CONFIG_KEY: Final = "quantization_config"
"""Key in config.json under which tools describe the quantisation of a model."""
_OTHER_FILES: Final = {"hf_quant_config.json": ("quantization", "modelopt"), "quantize_config.json": (None, "gptq")}
"""Other files that may contain this description, with the object that holds it and the quant_method."""


def _name_of(value: object) -> str | None:
    """Return the first name of a form; None for other objects."""
    if not isinstance(value, type) or not issubclass(value, QuantisedForm) or value is QuantisedForm:
        return None
    return value.methods[0]


FORMS: Final[dict[str, type[QuantisedForm]]] = pieces(__name__, _name_of)
"""Forms by the first of their names in quant_method."""


def quantisation(folder: Path, config: Mapping[str, Any]) -> Metadata | None:
    """Return a folder's description of how its matrices were quantised; None if there is none.

    Parameters
    ----------
    config : mapping
        The folder's config.json.

    Raises
    ------
    FormatError
        If the description is not a JSON object.
    """
    found = config.get(CONFIG_KEY)
    where = f"{folder / 'config.json'}: {CONFIG_KEY}"
    if found is None:
        for name, (key, method) in _OTHER_FILES.items():
            if (folder / name).is_file():
                where, whole = str(folder / name), read_json(folder / name, "how the model was quantised")
                found = whole if key is None else whole.get(key)
                found = {"quant_method": method, **found} if isinstance(found, dict) else found
                break
        else:
            return None
    if not isinstance(found, dict):
        raise FormatError(f"{where} is {found!r:.80}; expected an object")
    return Metadata(found, where, error=FormatError)


def read_quantised(settings: Metadata, tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the tensors with the parts of each quantised matrix combined into one tensor under its original name.

    Its data are created on first access.

    Parameters
    ----------
    settings : Metadata
        As returned by `quantisation`.
    path : Path
        The tensors' file, for error messages.

    Raises
    ------
    FormatError
        If the form is unknown, or the tensors do not match it.
    """
    method = settings.get("quant_method")
    kind = next((kind for kind in FORMS.values() if method in kind.methods), None)
    if kind is None:
        settings.refuse("quant_method", " or ".join(name for kind in FORMS.values() for name in kind.methods), method)
    form = kind(settings)
    places = {name: place for name in tensors if (place := form.split(name)) is not None}
    marked = {stem for stem, end in places.values() if end in form.marks}
    if not marked and any(tensor.kind == INTEGER for tensor in tensors.values()):
        return dict(tensors)  # `intact quantize` wrote the folder, with the config.json of one of these forms
    if not marked:
        raise FormatError(
            f"{path}: no tensor's name ends with {' or '.join(form.marks)}; expected some, because "
            f"{settings.source} says that the model is quantised"
        )
    matrices: dict[str, dict[str, Tensor]] = {stem: {} for stem in marked}
    for name, (stem, end) in places.items():
        if stem in marked:
            matrices[stem][end] = tensors[name]
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        stem, _ = places.get(name, ("", ""))
        if stem not in marked:
            if name.endswith(form.unused):
                continue
            new, own = name, tensor
        elif stem in matrices:
            new, own = stem + form.result, form.matrix(MatrixParts(path, stem, stem + form.result, matrices.pop(stem)))
        else:
            continue
        if new in out:
            raise FormatError(f"{path}: tensor {quote_name(new)} occurs twice: as floats and quantised")
        out[new] = own
    return out
