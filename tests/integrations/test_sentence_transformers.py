"""The interface of sentence-transformers: the same bits at any batch size, and its own functions take our models."""

import inspect
import json

import numpy as np
import pytest

import intact
from intact._base.errors import IntactError, NotInstalledError, ParameterError
from intact._base.packages import missing
from intact.integrations.sentence_transformers import CrossEncoder, SentenceTransformer
from support.folders import write_encoder
from support.variants.encoders import ENCODERS

TEXTS = ["The harbour wakes before the town does.", "a", "Boats, nets and ice; " * 12, "The harbour wakes", "b"]
NEEDS = pytest.mark.skipif(bool(missing("sentence-transformers")), reason="needs sentence-transformers")


@pytest.fixture(scope="module", params=["here", "server"])
def embedder(request, embedder_path):
    if request.param == "here":
        yield SentenceTransformer(str(embedder_path))
    else:
        yield SentenceTransformer("embedder", base_url=request.getfixturevalue("server").url)


@pytest.fixture(scope="module", params=["here", "server"])
def ranker(request, reranker_path):
    if request.param == "here":
        yield CrossEncoder(str(reranker_path))
    else:
        yield CrossEncoder("reranker", base_url=request.getfixturevalue("server").url)


def test_vectors_have_the_same_bits_at_any_batch_size(embedder, embedder_path):
    wanted = np.stack([one.vector for one in intact.load(embedder_path).embed(TEXTS)])
    for size in (1, 2, 3, 32):
        assert embedder.encode(TEXTS, batch_size=size).tobytes() == wanted.tobytes()
    assert np.stack([embedder.encode(text) for text in TEXTS]).tobytes() == wanted.tobytes()
    many = embedder.encode([*(f"stranger {i}" for i in range(140)), *TEXTS], batch_size=1000)
    assert many[140:].tobytes() == wanted.tobytes()
    assert many.dtype == np.float32


def test_scores_have_the_same_bits_at_any_batch_size(ranker, reranker_path):
    wanted = {one.index: np.float32(one.score) for one in intact.load(reranker_path).rerank("Which?", TEXTS)}
    pairs = [("Which?", text) for text in TEXTS]
    for size in (1, 2, 32):
        assert ranker.predict(pairs, batch_size=size).tolist() == [wanted[place] for place in range(len(TEXTS))]
    strangers = [(f"stranger {i}", "a") for i in range(20)]
    assert ranker.predict(strangers + pairs)[20:].tolist() == ranker.predict(pairs).tolist()
    assert ranker.predict(pairs[1]) == wanted[1]
    ranked = ranker.rank("Which?", TEXTS, top_k=3, return_documents=True)
    assert [one["score"] for one in ranked] == sorted(wanted.values(), reverse=True)[:3]
    assert all(one["text"] == TEXTS[one["corpus_id"]] for one in ranked)


def test_results_have_the_types_that_were_asked_for(embedder):
    vectors = embedder.encode(TEXTS)
    assert isinstance(embedder.encode(TEXTS, convert_to_numpy=False), list)
    assert embedder.encode([]).shape == (0,)
    assert embedder.encode(TEXTS, truncate_dim=8).shape == (5, 8)
    assert embedder.encode(sentences=TEXTS).tobytes() == vectors.tobytes()
    assert embedder.get_embedding_dimension() == embedder.get_sentence_embedding_dimension() == vectors.shape[1]
    bits = embedder.encode(TEXTS, precision="ubinary")
    assert (np.unpackbits(bits, axis=1) == (vectors > 0)).all()
    assert (embedder.encode(TEXTS, precision="binary").astype(int) == bits.astype(int) - 128).all()
    if missing("torch"):
        with pytest.raises(NotInstalledError, match="torch"):
            embedder.encode(TEXTS, convert_to_tensor=True)
    else:
        assert embedder.encode(TEXTS, convert_to_tensor=True).numpy().tobytes() == vectors.tobytes()


def test_prompts_come_before_texts(embedder, embedder_path):
    own = SentenceTransformer(str(embedder_path), prompts={"query": "The ", "passage": "a"})
    assert own.encode_query("harbour wakes").tobytes() == embedder.encode(TEXTS[3]).tobytes()
    assert own.encode_document("b").tobytes() == own.encode("b", prompt="a").tobytes() == own.encode("ab").tobytes()
    with pytest.raises(ParameterError, match="no prompt 'other'; known are query, passage"):
        own.encode("a", prompt_name="other")


def test_prompts_of_a_folder_are_read(tmp_path):
    path = write_encoder(tmp_path / "model", ENCODERS["bert"], "bert", "mean_tokens")
    config = {"prompts": {"query": "the cat "}, "default_prompt_name": "query"}
    (path / "config_sentence_transformers.json").write_text(json.dumps(config))
    own = SentenceTransformer(str(path))
    assert own.prompts == {"query": "the cat "}
    assert own.encode("sat").tobytes() == own.encode("the cat sat", prompt="").tobytes()
    (path / "config_sentence_transformers.json").write_text('{"prompts": {"query": 1}}')
    with pytest.raises(ParameterError, match="must map names to texts"):
        SentenceTransformer(str(path))


def test_similarities_have_the_same_bits_in_any_company(embedder):
    vectors = embedder.encode(TEXTS)
    whole = np.asarray(embedder.similarity(vectors, vectors))
    assert np.allclose(whole, vectors.astype(np.float64) @ vectors.T.astype(np.float64), atol=3e-7)
    for i in range(len(TEXTS)):
        for j in range(len(TEXTS)):
            assert np.asarray(embedder.similarity(vectors[i], vectors[j]))[0, 0] == whole[i, j]
    assert np.asarray(embedder.similarity_pairwise(vectors, vectors[::-1])).tolist() == [
        whole[i, -1 - i] for i in range(len(TEXTS))
    ]


def test_what_is_not_done_is_refused(embedder, ranker):
    for wrong, message in [
        ({"device": "cuda"}, "device must be"),
        ({"precision": "int8"}, "precision must be"),
        ({"output_value": "token_embeddings"}, "sentence_embedding"),
        ({"batch_size": 0}, "batch_size must be a positive integer"),
        ({"inputs": [1]}, "input 0 must be a text"),
        ({"truncate_dim": 0}, "dimensions"),
    ]:
        with pytest.raises(IntactError, match=message):
            embedder.encode(**{"inputs": TEXTS} | wrong)
    with pytest.raises(ParameterError, match="pairs of texts"):
        ranker.predict([("a", "b", "c")])
    with pytest.raises(ParameterError, match="sigmoid"):
        ranker.predict([("a", "b")], activation_fn=len)


@NEEDS
def test_every_parameter_of_the_tool_is_taken():
    import sentence_transformers as tool

    for ours, theirs, names in [
        (SentenceTransformer, tool.SentenceTransformer, ("encode",)),
        (CrossEncoder, tool.CrossEncoder, ("predict", "rank")),
    ]:
        for name in names:
            known = list(inspect.signature(inspect.unwrap(getattr(theirs, name))).parameters)
            own = list(inspect.signature(getattr(ours, name)).parameters)
            wanted = [one for one in known if one != "kwargs"]
            assert own[: len(wanted)] == wanted


@NEEDS
def test_the_tools_functions_take_our_models(embedder, ranker):
    from sentence_transformers import util
    from sentence_transformers.cross_encoder.evaluation import CrossEncoderRerankingEvaluator
    from sentence_transformers.evaluation import EmbeddingSimilarityEvaluator, InformationRetrievalEvaluator

    vectors = embedder.encode(TEXTS, convert_to_tensor=True)
    hits = util.semantic_search(vectors[3:4], vectors, top_k=1)
    assert hits[0][0]["corpus_id"] == 3
    similar = EmbeddingSimilarityEvaluator(TEXTS, TEXTS[::-1], [0.1, 0.2, 1.0, 0.2, 0.1])
    assert all(-1 <= value <= 1 for value in similar(embedder).values())
    corpus = {str(place): text for place, text in enumerate(TEXTS)}
    retrieval = InformationRetrievalEvaluator({"q": TEXTS[3]}, corpus, {"q": {"3"}}, accuracy_at_k=[1])
    assert retrieval(embedder)["cosine_accuracy@1"] == 1
    samples = [{"query": "Which?", "positive": [TEXTS[0]], "documents": TEXTS}]
    found = CrossEncoderRerankingEvaluator(samples, always_rerank_positives=False)(ranker)
    assert all(0 <= value <= 1 for value in found.values())
