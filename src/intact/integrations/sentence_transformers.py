"""The interface of sentence-transformers: `encode`, `predict` and `rank` for embedders and rerankers of this package.

Only the import changes. Neither sentence-transformers nor PyTorch is needed, except for results that are tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from intact._base import strict_json
from intact._base.errors import ParameterError
from intact._base.packages import check_installed, missing
from intact.checkpoints.catalogue import resolve
from intact.engine.reranking import INSTRUCTION
from intact.integrations.vectors import VectorModel

_PROMPTS: Final = "config_sentence_transformers.json"
_MOST_BYTES: Final = 1 << 20
_FRACTION: Final = 24
"""Bits after the binary point of the integers that similarities are computed with."""
_DOCUMENT: Final = ("document", "passage", "corpus")
"""Names of prompts for documents, as sentence-transformers looks for them."""
Precision = Literal["float32", "binary", "ubinary"]


class EvaluationNotes:
    """The metrics that evaluators of sentence-transformers note for a model card.

    Attributes
    ----------
    metrics : list of dict
        The metrics of each evaluation, in order.
    """

    def __init__(self) -> None:
        self.metrics: list[dict[str, Any]] = []

    def set_evaluation_metrics(self, evaluator: Any, metrics: Mapping[str, Any], epoch: int = 0, step: int = 0) -> None:
        """Note the metrics of an evaluation."""
        self.metrics.append(dict(metrics))


class SentenceTransformer:
    """An embedder with the interface of `sentence_transformers.SentenceTransformer`.

    A text's vector has the same bits at any batch size. Vectors have unit length, also truncated ones.

    Parameters
    ----------
    model_name_or_path : str
        Model name or file; its name on the server, with `base_url`.
    prompts : mapping of str to str, optional
        Texts that are put before inputs, by name; by default those in the model's folder.
    default_prompt_name : str, optional
        The prompt of calls that name none.
    truncate_dim : int, optional
        Keep only this many leading components.
    device : str, optional
        Must be "cpu" or None.
    base_url, api_key : str, optional
        An ``intact serve``, and its key, by default that in INTACT_API_KEY.
    pooling : {'last', 'cls', 'mean'}, optional
        Overrides the pooling that the model's files name; only for a model in this process.
    profile, threads
        For a model in this process, as in `intact.load`.

    Raises
    ------
    ParameterError
        If an argument is invalid.
    """

    similarity_fn_name: Final = "cosine"

    def __init__(
        self,
        model_name_or_path: str,
        device: str | None = None,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        *,
        truncate_dim: int | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        pooling: str | None = None,
        profile: str | None = None,
        threads: int | None = None,
    ) -> None:
        _check_device(device)
        self._opened = VectorModel(
            model_name_or_path, base_url, api_key, pooling=pooling, profile=profile, threads=threads
        )
        known, default = ({}, None) if base_url is not None else _folder_prompts(resolve(model_name_or_path))
        self.prompts = known if prompts is None else dict(prompts)
        self.default_prompt_name = default if default_prompt_name is None else default_prompt_name
        if self.default_prompt_name is not None:
            self._prompt(None, self.default_prompt_name)
        self.truncate_dim = truncate_dim
        self.model_card_data = EvaluationNotes()

    def encode(
        self,
        inputs: Any = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        output_value: str | None = "sentence_embedding",
        precision: Precision | None = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        normalize_embeddings: bool = True,
        truncate_dim: int | None = None,
        pool: None = None,
        chunk_size: int | None = None,
        *,
        sentences: Any = None,
    ) -> Any:
        """Return the unit vectors of texts, (texts, dimensions); of one text, (dimensions,).

        Parameters
        ----------
        inputs : str or sequence of str
            The texts; `sentences` is their older name.
        prompt_name, prompt : str, optional
            Name of a prompt, or a text, that is put before each text.
        batch_size : int
            Texts per step of the progress bar. It changes no bit.
        show_progress_bar : bool, optional
            If true, show progress on the standard error.
        precision : {'float32', 'binary', 'ubinary'}
            Type of components. The integers of sentence-transformers depend on the other texts of a call, and are
            not supported.
        convert_to_numpy, convert_to_tensor : bool
            If both are false, return a list of vectors; with `convert_to_tensor`, a PyTorch tensor.
        truncate_dim : int, optional
            Keep only this many leading components.
        output_value, device, normalize_embeddings, pool, chunk_size
            Accepted as far as they ask for what is done: sentence embeddings on the CPU.

        Raises
        ------
        IntactError
            If an argument is not supported, or a text is empty or longer than the model's context, where
            sentence-transformers would cut it.
        """
        _check_device(device)
        if output_value != "sentence_embedding" or pool is not None:
            raise ParameterError("only output_value='sentence_embedding' without a pool is supported")
        precision = precision or "float32"
        if precision not in ("float32", "binary", "ubinary"):
            raise ParameterError(f"precision must be 'float32', 'binary' or 'ubinary', got {precision!r:.40}")
        given = sentences if inputs is None else inputs
        single = isinstance(given, str)
        texts = [self._prompt(prompt, prompt_name) + text for text in _texts([given] if single else given)]
        dimensions = self.truncate_dim if truncate_dim is None else truncate_dim
        parts = [
            self._opened.embed(some, dimensions) for some in _steps(texts, batch_size, show_progress_bar, "embedding")
        ]
        found: NDArray[Any] = np.concatenate(parts) if parts else np.zeros((0,), np.float32)
        if precision != "float32" and parts:
            found = np.packbits(found > 0, axis=1)
            found = found if precision == "ubinary" else (found.astype(np.int16) - 128).astype(np.int8)
        values = found[0] if single else found
        if convert_to_tensor:
            return _tensor(values)
        return values if convert_to_numpy or single else list(values)

    def encode_query(self, inputs: Any = None, prompt_name: str | None = None, **options: Any) -> Any:
        """Return the vectors of questions: `encode` with the prompt "query" if there is one."""
        if prompt_name is None and options.get("prompt") is None and "query" in self.prompts:
            prompt_name = "query"
        options.pop("task", None)
        return self.encode(inputs, prompt_name, **options)

    def encode_document(self, inputs: Any = None, prompt_name: str | None = None, **options: Any) -> Any:
        """Return the vectors of documents: `encode` with the prompt "document", "passage" or "corpus"."""
        if prompt_name is None and options.get("prompt") is None:
            prompt_name = next((name for name in _DOCUMENT if name in self.prompts), None)
        options.pop("task", None)
        return self.encode(inputs, prompt_name, **options)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the cosine similarity of each vector of the first list with each of the second.

        It is computed in integers, so that a pair's similarity has the same bits in any company. A tensor if PyTorch is
        installed, else an array.
        """
        return _maybe_tensor(_cosine(_fixed(embeddings1) @ _fixed(embeddings2).T))

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the cosine similarity of each vector of the first list with that at the same place of the second."""
        return _maybe_tensor(_cosine((_fixed(embeddings1) * _fixed(embeddings2)).sum(axis=1)))

    def get_embedding_dimension(self) -> int:
        """Return the number of components of a vector."""
        return self._opened.size(self.truncate_dim)

    get_sentence_embedding_dimension = get_embedding_dimension

    @property
    def max_seq_length(self) -> int | None:
        """Maximum number of tokens of a text; None for a model on a server."""
        return self._opened.context

    @property
    def device(self) -> str:
        """The device."""
        return "cpu"

    @contextmanager
    def truncate_sentence_embeddings(self, truncate_dim: int | None) -> Iterator[None]:
        """Keep only this many components within the block."""
        before, self.truncate_dim = self.truncate_dim, truncate_dim
        try:
            yield
        finally:
            self.truncate_dim = before

    def close(self) -> None:
        """Unload the model, or close connections; the next call opens it again."""
        self._opened.close()

    def _prompt(self, prompt: str | None, name: str | None) -> str:
        if prompt is not None:
            return prompt
        name = self.default_prompt_name if name is None else name
        if name is None:
            return ""
        if name not in self.prompts:
            raise ParameterError(f"there is no prompt {name!r:.60}; known are {', '.join(self.prompts) or 'none'}")
        return self.prompts[name]


class CrossEncoder:
    """A reranker with the interface of `sentence_transformers.CrossEncoder`.

    A pair's score has the same bits at any batch size. Scores are probabilities, as with the sigmoid that
    sentence-transformers applies by default.

    Parameters
    ----------
    model_name_or_path : str
        Model name or file; its name on the server, with `base_url`.
    device : str, optional
        Must be "cpu" or None.
    instruction : str
        Task instruction, for models that read one.
    base_url, api_key, profile, threads
        As for `SentenceTransformer`.
    """

    num_labels: Final = 1

    def __init__(
        self,
        model_name_or_path: str,
        device: str | None = None,
        *,
        instruction: str = INSTRUCTION,
        base_url: str | None = None,
        api_key: str | None = None,
        profile: str | None = None,
        threads: int | None = None,
    ) -> None:
        _check_device(device)
        self.instruction = instruction
        self.model_card_data = EvaluationNotes()
        self._opened = VectorModel(model_name_or_path, base_url, api_key, profile=profile, threads=threads)

    def predict(
        self,
        inputs: Any = None,
        prompt_name: None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        activation_fn: Any = None,
        apply_softmax: bool | None = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        pool: None = None,
        chunk_size: int | None = None,
        *,
        sentences: Any = None,
    ) -> Any:
        """Return the score of each pair of texts, (pairs,); of one pair, a number.

        Parameters
        ----------
        inputs : pair of str, or sequence of pairs
            Questions with documents; `sentences` is their older name.
        prompt : str, optional
            Task instruction instead of the model's.
        batch_size : int
            Pairs per step of the progress bar. It changes no bit.
        activation_fn : callable, optional
            Only a sigmoid, which is applied already.
        show_progress_bar, convert_to_numpy, convert_to_tensor
            As for `SentenceTransformer.encode`.
        prompt_name, apply_softmax, device, pool, chunk_size
            Accepted as far as they ask for what is done: scores of one label on the CPU.

        Raises
        ------
        IntactError
            If an argument is not supported, or a pair is longer than the model's context.
        """
        _check_device(device)
        if activation_fn is not None and type(activation_fn).__name__ != "Sigmoid":
            raise ParameterError("activation_fn must be a sigmoid or None: scores are probabilities")
        if prompt_name is not None or pool is not None:
            raise ParameterError("prompt_name and pool are not supported: give an instruction as prompt")
        given = sentences if inputs is None else inputs
        single = len(given) > 0 and isinstance(given[0], str)
        pairs = [_pair(one) for one in ([given] if single else given)]
        instruction = self.instruction if prompt is None else prompt
        parts = [
            self._opened.score(some, instruction) for some in _steps(pairs, batch_size, show_progress_bar, "scoring")
        ]
        scores = (np.concatenate(parts) if parts else np.zeros(0)).astype(np.float32)
        if convert_to_tensor:
            return _tensor(scores)[0] if single else _tensor(scores)
        values: Any = scores if convert_to_numpy else list(scores)
        return values[0] if single else values

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        return_documents: bool = False,
        prompt_name: None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        activation_fn: Any = None,
        device: Any = None,
        pool: None = None,
        chunk_size: int | None = None,
        **options: Any,
    ) -> list[dict[str, Any]]:
        """Return documents with `corpus_id`, `score` and, if asked for, `text`, best first; ties keep their order."""
        for name in ("apply_softmax", "convert_to_numpy", "convert_to_tensor"):
            options.pop(name, None)
        scores = self.predict(
            [(query, document) for document in documents],
            prompt_name=prompt_name,
            prompt=prompt,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            activation_fn=activation_fn,
            device=device,
            pool=pool,
            **options,
        )
        found: list[dict[str, Any]] = [{"corpus_id": place, "score": float(one)} for place, one in enumerate(scores)]
        if return_documents:
            found = [{**one, "text": documents[one["corpus_id"]]} for one in found]
        return sorted(found, key=lambda one: (-one["score"], one["corpus_id"]))[:top_k]

    def close(self) -> None:
        """Unload the model, or close connections; the next call opens it again."""
        self._opened.close()


def _check_device(device: Any) -> None:
    if device is not None and str(device) != "cpu":
        raise ParameterError(f"device must be 'cpu' or None, got {device!r:.40}")


def _texts(given: Any) -> list[str]:
    texts = list(given)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise ParameterError(f"input {place} must be a text, got {text!r:.60}")
    return texts


def _pair(given: Any) -> tuple[str, str]:
    pair = tuple(map(str, given)) if isinstance(given, np.ndarray) else tuple(given)
    if len(pair) != 2 or not all(isinstance(text, str) for text in pair):
        raise ParameterError(f"inputs must be pairs of texts, got {given!r:.60}")
    return cast("tuple[str, str]", pair)


def _steps(values: list[Any], size: int, progress: bool | None, what: str) -> Iterator[list[Any]]:
    """Yield the values in batches, with a progress bar if it is asked for."""
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ParameterError(f"batch_size must be a positive integer, got {size!r:.40}")
    batches = [values[start : start + size] for start in range(0, len(values), size)]
    if not progress:
        return iter(batches)
    return iter(track(batches, what, console=Console(stderr=True)))


def _fixed(vectors: Any) -> NDArray[np.int64]:
    """Return vectors of unit length as integers, (vectors, dimensions); their products and sums are exact."""
    values = np.atleast_2d(np.asarray(vectors, np.float64))
    length = np.sqrt(np.square(values).sum(axis=1, keepdims=True))
    scaled = np.divide(values, length, out=np.zeros_like(values), where=length > 0)
    fixed: NDArray[np.int64] = np.rint(scaled * (1 << _FRACTION)).astype(np.int64)
    return fixed


def _cosine(products: NDArray[np.int64]) -> NDArray[np.float32]:
    return (products / float(1 << 2 * _FRACTION)).astype(np.float32)


def _tensor(values: NDArray[Any]) -> Any:
    check_installed("a result as a tensor", "torch")
    import torch

    return torch.from_numpy(np.ascontiguousarray(values))


def _maybe_tensor(values: NDArray[np.float32]) -> Any:
    return values if missing("torch") else _tensor(values)


def _folder_prompts(path: Path) -> tuple[dict[str, str], str | None]:
    """Return the prompts in a model's folder, and the name of the default one."""
    file = path / _PROMPTS
    if not path.is_dir() or not file.is_file():
        return {}, None
    with file.open("rb") as opened:
        data = opened.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ParameterError(f"{file} has more than {_MOST_BYTES:,} bytes")
    value = strict_json.parse(data, str(file), floats=True)
    known = value if isinstance(value, dict) else {}
    prompts, default = known.get("prompts") or {}, known.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise ParameterError(f"{file}: prompts must map names to texts")
    if default is not None and default not in prompts:
        raise ParameterError(f"{file}: there is no prompt {default!r:.60}, the default")
    return prompts, default
