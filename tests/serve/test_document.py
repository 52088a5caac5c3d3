"""Whatever fits the OpenAPI document, or nearly does, is answered without a failure of the server (schemathesis)."""

import json
import urllib.request

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error

from support.examples import examples
from support.patience import PATIENCE

QUICK = settings(examples(6), suppress_health_check=list(HealthCheck))


def described(url):
    """The server's own document, but that it knows the model's name, and asks for short texts."""
    with urllib.request.urlopen(url + "/openapi.json", timeout=PATIENCE) as answer:
        document = json.load(answer)
    for form in document["components"]["schemas"].values():
        properties = form.get("properties", {})
        if "model" in properties:
            properties["model"] = {"enum": ["tiny", "tiny:best-of-n-2", "other"]}
        for name in ("max_tokens", "max_completion_tokens", "num_predict"):
            if name in properties:
                properties[name] = {"type": "integer", "minimum": -1, "maximum": 4}
    return document


@pytest.mark.slow
def test_no_request_makes_the_server_fail(server):
    document = schemathesis.openapi.from_dict(described(server.url))
    seen = 0
    for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
        for found in document.get_all_operations():
            operation = found.ok()
            if mode is schemathesis.GenerationMode.NEGATIVE and not operation.body:
                continue  # there is nothing that could be wrong
            seen += 1

            @QUICK
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case):
                case.call_and_validate(base_url=server.url, checks=[not_a_server_error], timeout=PATIENCE)

            check()
    assert seen >= 15
