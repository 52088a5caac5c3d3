"""Traces: what a request went through and how long it took, by names and numbers alone."""

import asyncio
import itertools
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import openai
import pytest

pytest.importorskip("opentelemetry.sdk", reason="needs the extra otel")
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from intact._base.errors import ParameterError
from intact.serve.tracing import Tracing, exporting
from support.patience import PATIENCE
from support.serving import running

SECRET = "xylophone"
MESSAGES = [{"role": "user", "content": SECRET}]
CHAT = {"model": "tiny", "messages": MESSAGES, "max_tokens": 5, "seed": 3, "ignore_eos": True}
KEYS = ("a-key-of-sufficient-length",)
HEADERS = {"authorization": f"Bearer {KEYS[0]}"}


@pytest.fixture(scope="module")
def spans():
    return InMemorySpanExporter()


@pytest.fixture(scope="module")
def traced(tiny_path, spans):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    with running({"tiny": tiny_path}, tracing=Tracing(provider.get_tracer("test")), keys=KEYS) as there:
        there.settle(lambda: there.service.models.served["tiny"].model)
        yield there
        there.settle(there.idle)


@pytest.fixture(autouse=True)
def cleared(request):
    if "spans" in request.fixturenames:
        request.getfixturevalue("spans").clear()


def post(server, body, path="/v1/chat/completions", **headers):
    return httpx.post(server.url + path, json=body, headers={**HEADERS, **headers}, timeout=PATIENCE)


def finished(server, spans, route="/v1/chat/completions"):
    """The spans of the one request, once its own has ended: each with its name, and the children of each."""
    server.settle(lambda: any(span.name == f"POST {route}" for span in spans.get_finished_spans()))
    found = spans.get_finished_spans()
    children = {span.context.span_id: [] for span in found}
    root = None
    for span in sorted(found, key=lambda span: span.start_time):
        if span.parent is None or span.parent.is_remote:
            assert root is None
            root = span
        else:
            children[span.parent.span_id].append(span)
    return root, lambda span: children[span.context.span_id]


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_is_a_tree_of_spans(traced, spans, stream):
    answer = post(traced, CHAT | {"n": 2, "temperature": 0.5, "stream": stream})
    assert answer.status_code == 200
    root, below = finished(traced, spans)
    assert root.kind is SpanKind.SERVER
    assert dict(root.attributes) == {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
    }
    (chat,) = below(root)
    assert chat.name == "chat tiny"
    attributes = dict(chat.attributes)
    assert attributes.pop("gen_ai.response.time_to_first_chunk") > 0
    assert attributes.pop("gen_ai.usage.input_tokens") > 5
    assert attributes.pop("openai.response.system_fingerprint").startswith("intact-")
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "intact",
        "gen_ai.request.model": "tiny",
        "gen_ai.response.model": "tiny",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.request.top_k": 0,
        "gen_ai.request.max_tokens": 5,
        "gen_ai.request.seed": 3,
        "gen_ai.request.frequency_penalty": 0.0,
        "gen_ai.request.presence_penalty": 0.0,
        "gen_ai.request.choice.count": 2,
        "gen_ai.usage.output_tokens": 10,
        "gen_ai.response.finish_reasons": ("length", "length"),
    }
    steps = below(chat)
    assert [span.name for span in steps] == ["queue", "prefill", "decode"]
    for before, after in itertools.pairwise(steps):
        assert before.end_time <= after.start_time
    assert root.start_time <= chat.start_time <= steps[0].start_time
    assert steps[-1].end_time <= chat.end_time <= root.end_time
    assert all(span.status.status_code is StatusCode.UNSET for span in spans.get_finished_spans())


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/api/chat", {"messages": MESSAGES}, "chat tiny"),
        ("/api/generate", {"prompt": SECRET, "raw": True, "stream": False}, "text_completion tiny"),
    ],
)
def test_ollamas_endpoints_are_traced_alike(traced, spans, path, body, name):
    answer = post(traced, {"model": "tiny", "options": {"num_predict": 5}, **body}, path)
    assert answer.status_code == 200
    root, below = finished(traced, spans, path)
    assert root.attributes["http.route"] == path
    (text,) = below(root)
    assert text.name == name
    assert [span.name for span in below(text)] == ["queue", "prefill", "decode"]
    assert SECRET not in str([dict(span.attributes) for span in spans.get_finished_spans()])


def test_answers_are_those_of_a_server_that_is_not_traced(traced, server):
    for body in (CHAT | {"n": 3, "logprobs": True, "top_logprobs": 2}, CHAT | {"intact": {"receipt": True}}):
        one, other = (post(each, body).json() for each in (traced, server))
        for answer in (one, other):
            answer.pop("id"), answer.pop("created")
        assert one == other


def test_prompts_of_one_request_are_side_by_side(traced, spans):
    asked = {"model": "tiny", "prompt": [SECRET, SECRET[:3]], "max_tokens": 4, "ignore_eos": True}
    assert post(traced, asked, "/v1/completions").status_code == 200
    root, below = finished(traced, spans, "/v1/completions")
    (texts,) = below(root)
    assert texts.name == "text_completion tiny"
    assert texts.attributes["gen_ai.usage.output_tokens"] == 8
    assert sorted(span.name for span in below(texts)) == ["decode", "decode", "prefill", "prefill", "queue"]


def test_a_clients_trace_goes_on(traced, spans):
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    post(traced, CHAT, traceparent=parent)
    root, _ = finished(traced, spans)
    assert root.parent.span_id == 0xB7AD6B7169203331
    assert {span.context.trace_id for span in spans.get_finished_spans()} == {0x0AF7651916CD43DD8448EB211C80319C}


def test_a_method_is_a_workflow(traced, spans):
    answer = post(traced, CHAT | {"model": "tiny:self-consistency-3", "max_tokens": 4} | {"ignore_eos": False})
    assert answer.status_code == 200, answer.text
    root, below = finished(traced, spans)
    (workflow,) = below(root)
    assert workflow.name == "invoke_workflow tiny"
    assert workflow.attributes["gen_ai.workflow.name"] == "self_consistency"
    queue, method = below(workflow)
    assert (queue.name, method.name) == ("queue", "method self_consistency")
    assert method.attributes["gen_ai.usage.output_tokens"] == answer.json()["usage"]["completion_tokens"]
    assert method.attributes["intact.why"] == "done"


def test_what_fails_says_why_in_a_word(traced, spans):
    assert post(traced, CHAT | {"ignore_eos": False, "intact": {"regex": SECRET + "("}}).status_code == 400
    root, below = finished(traced, spans)
    assert root.attributes["http.response.status_code"] == 400
    assert root.status.status_code is StatusCode.UNSET  # it is the client's fault
    (chat,) = below(root)
    assert chat.status.status_code is StatusCode.ERROR
    assert chat.attributes["error.type"] == "ApiError"
    assert [span.name for span in below(chat)] == ["compile constraint"]
    spans.clear()
    assert post(traced, CHAT | {"max_tokens": 900, "n": 8, "intact": {"deadline": 0.1}}).status_code == 504
    root, below = finished(traced, spans)
    assert root.status.status_code is StatusCode.ERROR
    assert below(root)[0].status.status_code is StatusCode.ERROR


def test_who_leaves_ends_its_spans(traced, spans):
    async def scene():
        async with httpx.AsyncClient(timeout=PATIENCE, headers=HEADERS) as client:
            url = traced.url + "/v1/chat/completions"
            async with client.stream("POST", url, json=CHAT | {"max_tokens": 900, "stream": True}) as answer:
                async for _ in answer.aiter_bytes():
                    break

    asyncio.run(scene())
    root, below = finished(traced, spans)
    (chat,) = below(root)
    assert chat.attributes["error.type"] in ("CancelledError", "GeneratorExit")
    traced.settle(traced.idle)


def test_no_span_holds_a_text_or_a_key(traced, spans):
    with openai.OpenAI(base_url=traced.url + "/v1", api_key=KEYS[0], max_retries=0) as client:
        own = {"id": SECRET + "-id", "regex": f"({SECRET}|[a-z ]{{3,9}})"}
        asked = CHAT | {"stop": [SECRET], "user": SECRET, "ignore_eos": False}
        asked = {name: value for name, value in asked.items() if name != "ignore_eos"}
        answer = client.chat.completions.create(**asked, extra_body={"intact": own})
        with pytest.raises(openai.BadRequestError, match=SECRET):
            client.chat.completions.create(**asked, extra_body={"intact": {"grammar": f"start: /{SECRET}(/"}})
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(**asked | {"model": SECRET})
        client.chat.completions.create(**asked | {"model": "tiny:best-of-n-2"} | {"stop": None})
    traced.settle(lambda: sum(span.parent is None for span in spans.get_finished_spans()) == 4)
    told = " ".join(span.to_json() for span in spans.get_finished_spans())
    written = answer.choices[0].message.content
    assert len(written) > 2
    for text in (SECRET, written, KEYS[0]):
        assert text not in told


def test_only_who_is_let_in_is_traced_and_only_the_interface(traced, spans):
    for path, status in (("/health", 200), ("/metrics", 200), ("/", 200)):
        assert httpx.get(traced.url + path, headers=HEADERS).status_code == status
    assert httpx.post(traced.url + "/v1/chat/completions", json=CHAT).status_code == 401
    assert httpx.get(traced.url + "/v1/models", headers=HEADERS).status_code == 200
    traced.settle(lambda: spans.get_finished_spans())
    assert [span.name for span in spans.get_finished_spans()] == ["GET /v1/models"]


def test_spans_reach_a_collector(tiny_path, monkeypatch):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    came = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            came.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    collector = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "ours")
    with running({"tiny": tiny_path}, tracing=exporting()) as there:
        assert post(there, CHAT).status_code == 200
    collector.shutdown()  # the server has sent what was left as it ended
    collector.server_close()
    thread.join()
    requests = [ExportTraceServiceRequest.FromString(body) for path, body in came if path == "/v1/traces"]
    (resource,) = [one for request in requests for one in request.resource_spans]
    names = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
    assert names["service.name"] == "ours"
    found = {span.name for scope in resource.scope_spans for span in scope.spans}
    assert found == {"POST /v1/chat/completions", "chat tiny", "queue", "prefill", "decode"}


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ParameterError, match="pip install opentelemetry-sdk opentelemetry-exp"):
        exporting()


def test_nothing_is_recorded_unless_asked_for():
    """FastAPI looks for OpenTelemetry's names by itself; what records and sends is not even imported."""
    program = "import sys, intact.serve.app; print([m for m in sys.modules if 'opentelemetry.' in m and 'sdk' in m])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout.strip() == "[]"
