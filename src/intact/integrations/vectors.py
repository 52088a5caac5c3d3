"""Vectors of texts and scores of pairs, from a model in this process or on a server."""

from __future__ import annotations

import base64
import binascii
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import EndpointError, ParameterError
from intact.checkpoints.catalogue import resolve
from intact.engine.reranking import INSTRUCTION
from intact.integrations.chat_source import ServerSource, check_address
from intact.integrations.opening import OpenedLater
from intact.library import Model, load
from intact.reason.backends.openai_key import KEY

MOST_TEXTS: Final = 128
"""Texts per request to a server: the default limit of ``intact serve``."""
CONCURRENT: Final = 16
"""Concurrent requests; their texts share the engine's steps."""


class VectorModel:
    """A model that embeds texts and scores pairs of texts; the first request loads it.

    A text's vector and a pair's score have the same bits alone and in any company.

    Parameters
    ----------
    model : str
        Model name or file; its name on the server, with `base_url`.
    base_url : str, optional
        Address of an ``intact serve``, with or without ``/v1``. Without one, the model is loaded in this process.
    api_key : str, optional
        The server's key; by default that in the environment variable INTACT_API_KEY.
    pooling : {'last', 'cls', 'mean'}, optional
        Overrides the pooling that the model's files name; only for a model in this process.
    **loading
        Arguments of `intact.load` for a model in this process: profile, threads.

    Raises
    ------
    ParameterError
        If an argument is invalid.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        pooling: str | None = None,
        **loading: Any,
    ) -> None:
        if not isinstance(model, str) or not model:
            raise ParameterError(f"model must be a model's name or file, got {model!r:.60}")
        given = {name: value for name, value in loading.items() if value is not None}
        if base_url is not None and (pooling is not None or given):
            name = "pooling" if pooling is not None else min(given)
            raise ParameterError(f"{name} cannot be set for a server: start it with these options")
        if base_url is not None:
            check_address(base_url)
        if unknown := given.keys() - {"profile", "threads"}:
            raise ParameterError(f"unknown model argument {min(unknown)!r:.60}: expected profile or threads")
        self.model = model

        def opening() -> _Vectors:
            if base_url is not None:
                return _OfServer(model, ServerSource(base_url, api_key or os.environ.get(KEY)))
            return _OfModel(load(resolve(model), **given), pooling)

        self._source = OpenedLater(opening)

    def embed(self, texts: Sequence[str], dimensions: int | None = None) -> NDArray[np.float32]:
        """Return the unit vectors of texts, (texts, dimensions).

        Raises
        ------
        IntactError
            If a text is empty or too long, the model gives no embeddings, or the server cannot be reached.
        """
        if not texts:
            return np.zeros((0, dimensions or 0), np.float32)
        return self._source.get().embed(texts, dimensions)

    def lists(self, texts: Sequence[str], dimensions: int | None = None) -> list[list[float]]:
        """Return the unit vectors of texts as lists of numbers; errors as in `embed`."""
        found: list[list[float]] = self.embed(texts, dimensions).tolist()
        return found

    def score(self, pairs: Sequence[tuple[str, str]], instruction: str = INSTRUCTION) -> NDArray[np.float64]:
        """Return the relevance of each pair's second text to its first, from 0 to 1.

        Raises
        ------
        IntactError
            If a text is too long, the model is not a reranker, or the server cannot be reached.
        """
        documents: dict[str, list[int]] = {}
        for place, (query, _) in enumerate(pairs):
            documents.setdefault(query, []).append(place)
        source, found = self._source.get(), np.zeros(len(pairs), np.float64)

        def rank(query: str) -> None:
            places = documents[query]
            for some in _batches(places, MOST_TEXTS):
                found[some] = source.score(query, [pairs[place][1] for place in some], instruction)

        with ThreadPoolExecutor(CONCURRENT) as threads:
            list(threads.map(rank, documents))
        return found

    @property
    def context(self) -> int | None:
        """Maximum number of tokens of a text, where it is known: for a model in this process."""
        source = self._source.get()
        return source.model.context if isinstance(source, _OfModel) else None

    def size(self, dimensions: int | None = None) -> int:
        """Return the number of components of a vector; a server is asked for the vector of a short text."""
        return self._source.get().size(dimensions)

    def close(self) -> None:
        """Unload the model, or close connections; the next request opens it again."""
        self._source.close()


class _Vectors(ABC):
    """A source of vectors and scores."""

    @abstractmethod
    def embed(self, texts: Sequence[str], dimensions: int | None) -> NDArray[np.float32]:
        """Return unit vectors."""

    @abstractmethod
    def score(self, query: str, documents: Sequence[str], instruction: str) -> list[float]:
        """Return the documents' scores, in their order."""

    @abstractmethod
    def size(self, dimensions: int | None) -> int:
        """Return the number of components."""

    @abstractmethod
    def close(self) -> None:
        """Unload the model, or close connections."""


class _OfModel(_Vectors):
    def __init__(self, model: Model, pooling: Any) -> None:
        self.model, self._pooling = model, pooling

    def embed(self, texts: Sequence[str], dimensions: int | None) -> NDArray[np.float32]:
        found = self.model.embed(list(texts), dimensions=dimensions, pooling=self._pooling)
        return np.stack([one.vector for one in found])

    def score(self, query: str, documents: Sequence[str], instruction: str) -> list[float]:
        ranked = self.model.rerank(query, documents, instruction=instruction)
        return [one.score for one in sorted(ranked, key=lambda one: one.index)]

    def size(self, dimensions: int | None) -> int:
        return self.model.embedding_size(dimensions, self._pooling)

    def close(self) -> None:
        self.model.close()


class _OfServer(_Vectors):
    def __init__(self, model: str, server: ServerSource) -> None:
        self._model, self._server = model, server

    def embed(self, texts: Sequence[str], dimensions: int | None) -> NDArray[np.float32]:
        def ask(some: Sequence[str]) -> list[NDArray[np.float32]]:
            body = {"model": self._model, "input": some, "encoding_format": "base64"}
            return self._vectors(self._server.post("embeddings", body | _given(dimensions=dimensions)), len(some))

        with ThreadPoolExecutor(CONCURRENT) as threads:
            return np.stack([one for some in threads.map(ask, _batches(texts, MOST_TEXTS)) for one in some])

    def score(self, query: str, documents: Sequence[str], instruction: str) -> list[float]:
        body = {"model": self._model, "query": query, "documents": list(documents), "return_documents": False}
        reply = self._server.post("rerank", body | {"instruction": instruction})
        try:
            scores = {int(one["index"]): float(one["relevance_score"]) for one in reply["results"]}
            return [scores[place] for place in range(len(documents))]
        except (KeyError, TypeError, ValueError):
            raise EndpointError(f"{self._server.url}/rerank: the reply has no score for some documents") from None

    def size(self, dimensions: int | None) -> int:
        return int(self.embed(["a"], dimensions).shape[1])

    def close(self) -> None:
        self._server.close()

    def _vectors(self, reply: dict[str, Any], count: int) -> list[NDArray[np.float32]]:
        try:
            vectors = {int(one["index"]): base64.b64decode(one["embedding"], validate=True) for one in reply["data"]}
            found = [np.frombuffer(vectors[place], "<f4").astype(np.float32) for place in range(count)]
        except (KeyError, TypeError, ValueError, binascii.Error):
            raise EndpointError(f"{self._server.url}/embeddings: the reply lacks some texts' vectors") from None
        if len({one.shape for one in found}) > 1:
            raise EndpointError(f"{self._server.url}/embeddings: the vectors have different lengths")
        return found


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _batches(values: Sequence[Any], size: int) -> Iterator[list[Any]]:
    """Yield the values in lists of at most `size`."""
    rest = iter(values)
    while some := list(islice(rest, size)):
        yield some
