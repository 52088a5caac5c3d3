"""Embeddings and reranking: vectors and scores computed from the hidden states that enter the model's head."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal, TypeAlias, cast

from intact._base.errors import ModelError, ParameterError
from intact.engine.embedding import Embedding, embedding_of
from intact.engine.encoding import EncodingJob
from intact.engine.head_job import HeadJob
from intact.engine.model import LoadedModel
from intact.engine.reranking import INSTRUCTION, AnswerHead, Ranked, answer_tokens, rerank_prompt, rerank_template
from intact.engine.reward_head import RewardHead
from intact.engine.sampling.definitions import integer
from intact.library.prompts import Prompt, as_prompts, is_sequence, tokens_of
from intact.models.ops import Logits
from intact.models.pooling import LAST, POOLINGS, read_pooling
from intact.models.reward_heads import encoder_head

Pooling: TypeAlias = Literal["last", "cls", "mean"]
Rows: TypeAlias = Literal["first", "last", "all"]


class EmbeddingModel(LoadedModel):
    """A loaded model that embeds texts and reranks documents."""

    def embed(
        self, texts: Prompt | Sequence[Prompt], *, dimensions: int | None = None, pooling: Pooling | None = None
    ) -> list[Embedding]:
        """Embed texts as unit vectors, taken from the model's hidden state after the last token.

        For encoders the vector is the state of the first row, of the last row, or the mean over all rows, as the
        model's files specify.

        Parameters
        ----------
        texts : str, token ids, or a list of these
            As in `generate`. Many models expect an instruction before a question; see their model cards.
        dimensions : int, optional
            Keep only this many leading components, renormalised to length 1; by default all.
        pooling : {'last', 'cls', 'mean'}, optional
            Overrides the pooling specified in the model's files. Required if they specify none, as for generative
            models, which support only 'last'; encoders support all three.

        Raises
        ------
        ParameterError
            If the model does not provide embeddings, or uses an unsupported pooling; or if `dimensions` is not in [1,
            width].
        """
        size = self.embedding_size(dimensions, pooling)
        jobs = self._texts(texts, pooling=self._rows(pooling))
        self.run(jobs)
        return [embedding_of(job, self.executor.profile, size) for job in jobs]

    async def aembed(
        self,
        texts: Prompt | Sequence[Prompt],
        *,
        dimensions: int | None = None,
        pooling: Pooling | None = None,
        priority: int = 0,
    ) -> list[Embedding]:
        """`embed` for coroutines: texts are batched with other requests; cancelling the task cancels them."""
        size = self.embedding_size(dimensions, pooling)
        jobs = await self._read(texts, priority, pooling=self._rows(pooling))
        return [embedding_of(job, self.executor.profile, size) for job in jobs]

    def rerank(self, query: str, documents: Sequence[str], *, instruction: str = INSTRUCTION) -> list[Ranked]:
        """Rank documents by how well they answer a query, best first; ties keep the given order.

        Parameters
        ----------
        query : str
        documents : sequence of str
        instruction : str
            Task instruction, for models that read one.

        Raises
        ------
        ParameterError
            If there are no documents, one is too long, or the model has no single tokens for "yes" and "no".
        """
        head, prompts = self.rerank_prompts(query, documents, instruction)
        jobs = self._texts(prompts, "document", pooling="first")
        self.run(jobs)
        return _ranked(head, jobs)

    async def arerank(
        self, query: str, documents: Sequence[str], *, instruction: str = INSTRUCTION, priority: int = 0
    ) -> list[Ranked]:
        """`rerank` for coroutines: documents are batched with other requests; cancelling the task cancels them."""
        head, prompts = await asyncio.to_thread(lambda: self.rerank_prompts(query, documents, instruction))
        return await self.arank(head, prompts, priority)

    async def arank(
        self, head: AnswerHead | RewardHead, prompts: Sequence[Sequence[int]], priority: int = 0
    ) -> list[Ranked]:
        """Rank documents, given the head and prompts that `rerank_prompts` returned."""
        return _ranked(head, await self._read(prompts, priority, "document", pooling="first"))

    def rerank_prompts(
        self, query: str, documents: Sequence[str], instruction: str = INSTRUCTION
    ) -> tuple[AnswerHead | RewardHead, list[list[int]]]:
        """Return the head that scores documents, and the tokens to read for each document; errors as in `rerank`."""
        if isinstance(documents, str | bytes) or not is_sequence(documents):
            raise ParameterError(f"documents must be a list of strings, got {documents!r:.60}")
        if not len(documents):
            raise ParameterError("documents is empty: give a list of strings")
        pairs = self.engine.whole
        head = self._pair_head if pairs else self._answer_head
        template = "" if pairs else rerank_template(self.checkpoint.metadata)
        prompts = []
        for i, document in enumerate(documents):
            for name, text in (("query", query), (f"document {i}", document), ("instruction", instruction)):
                if not isinstance(text, str):
                    raise ParameterError(f"{name} must be a string, got {text!r:.60}")
            if pairs:
                prompts.append(self.tokenizer.encode_pair(query, document, most=self.context).ids)
                continue
            texts = {"instruction": instruction, "query": query, "document": document}
            prompts.append(rerank_prompt(self.tokenizer, template, texts, self.context))
        return head, prompts

    async def _read(
        self, texts: Prompt | Sequence[Prompt], priority: int, name: str = "text", pooling: Rows = "last"
    ) -> list[HeadJob]:
        """Return requests for the head inputs of texts, once all of them are done."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        jobs = await asyncio.to_thread(
            lambda: self._texts(texts, name, priority, lambda: self._driver.notify(loop, changed.set), pooling=pooling)
        )
        with self._posted(jobs):
            while not all(job.done for job in jobs):
                await changed.wait()
                changed.clear()
        return jobs

    def _texts(
        self,
        texts: Prompt | Sequence[Prompt],
        name: str = "text",
        priority: int = 0,
        listen: Callable[[], None] = lambda: None,
        pooling: Rows = "last",
    ) -> list[HeadJob]:
        """Return validated requests for the head inputs of texts; `name` names the texts in error messages.

        Encoders return the rows that `pooling` selects, other models the last row.
        """
        prompts = as_prompts(texts)
        several = len(prompts) > 1
        jobs = []
        for i, prompt in enumerate(prompts):
            tokens = tokens_of(self, prompt, f"{name} {i}" if several else f"the {name}")
            try:
                self.engine.check(tokens)
            except ParameterError as error:
                raise ParameterError(f"{name} {i}: {error}" if several else str(error)) from None
            encodes = self.engine.whole
            jobs.append(
                EncodingJob(tokens, pooling, priority, listen) if encodes else HeadJob(tokens, priority, listen)
            )
        return jobs

    @cached_property
    def _answer_head(self) -> AnswerHead:
        return AnswerHead(self.program, self.executor.profile, answer_tokens(self.tokenizer), self.executor.bits)

    @cached_property
    def _pair_head(self) -> RewardHead:
        """The head of an encoder that is a reranker."""
        try:
            layers = encoder_head(self.checkpoint)
        except ModelError as error:
            raise ParameterError(f"{self.path.name} is not a reranker: {error}") from None
        tensors, executor = self.checkpoint.tensors, self.executor
        return RewardHead(tensors, layers, self._width, executor.profile, bits=executor.bits, between="tanh")

    @property
    def _width(self) -> int:
        """Width of the head's input."""
        head = next(op for op in self.program.ops if isinstance(op, Logits))
        return self.program.buffers[head.source].width

    @cached_property
    def _pooling(self) -> str | None:
        return read_pooling(self.checkpoint)

    @property
    def _poolings(self) -> tuple[str, ...]:
        """Poolings supported for this model."""
        return tuple(POOLINGS) if self.engine.whole else (LAST,)

    @property
    def why_no_embeddings(self) -> str:
        """Reason why the model provides no embeddings unless a pooling is requested; empty if it provides them."""
        if self._pooling is None:
            return "its files do not name a pooling"
        if self._pooling in self._poolings:
            return ""
        alone = f"{', '.join(POOLINGS)} are" if self.engine.whole else "only the last token's state is"
        return f"it pools by {self._pooling!r:.60}; {alone} supported"

    def embedding_size(self, dimensions: int | None = None, pooling: str | None = None) -> int:
        """Return the number of components of an embedding requested with these arguments; see `embed`.

        Raises
        ------
        ParameterError
            If the model does not provide embeddings, or not with this many dimensions.
        """
        self._rows(pooling)
        return self._width if dimensions is None else integer("dimensions", dimensions, 1, self._width)

    def _rows(self, pooling: str | None) -> Rows:
        """Return the rows from which a text's vector is computed; errors as in `embedding_size`."""
        known = self._poolings
        if pooling is not None and pooling not in known:
            raise ParameterError(f"pooling must be {' or '.join(map(repr, known))} or None, got {pooling!r:.60}")
        if pooling is None and (why := self.why_no_embeddings):
            if self._pooling is None and self.engine.whole:
                why += f": give pooling={' or '.join(map(repr, known))}; on the command line, --pooling"
            elif self._pooling is None:
                why += f"; pooling={LAST!r} (on the command line, --pooling {LAST}) uses the last token's state"
            raise ParameterError(f"{self.path.name} gives no embeddings: {why}")
        return cast(Rows, POOLINGS[cast(str, pooling or self._pooling)])


def _ranked(head: AnswerHead | RewardHead, jobs: Sequence[HeadJob]) -> list[Ranked]:
    """Return the scores of the documents, best first."""
    ranked = [Ranked(i, head.score(job.result()), job.tokens) for i, job in enumerate(jobs)]
    return sorted(ranked, key=lambda one: (-one.score, one.index))
