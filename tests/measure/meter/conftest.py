"""A run of the meter against an endpoint of `support.moody`."""

import asyncio

import pytest

from intact.measure.meter.apis.base import Setting
from intact.measure.meter.client import MeteredEndpoint
from intact.measure.meter.journal import MeterJournal
from intact.measure.meter.plan import MeterPlan
from intact.measure.meter.run import MeterSettings, measure
from intact.measure.meter.spending import Caps, Spending
from support.moody import serve

PROMPTS = [f"How much is {n} plus {n}?" for n in range(12)]
PLAN = MeterPlan(probes=3, settings=(Setting(0.0),), company=(2,), pause=0.01)


@pytest.fixture
def metered(tmp_path):
    """Measure an endpoint; return its journal, the outcome, and the connection."""

    def run(moody, plan=PLAN, caps=None, journal=None, **asking):
        about = {"url": "stub"}
        kept = MeterJournal(journal, about)
        options = {name: asking.pop(name) for name in ("api", "model") if name in asking}

        async def scene(url):
            async with MeteredEndpoint(url, Spending(caps or Caps()), **options) as endpoint:
                await endpoint.find(5)
                return endpoint, await measure(endpoint, plan, kept, MeterSettings(PROMPTS, 8, **asking))

        with serve(moody):
            endpoint, outcome = asyncio.run(scene(moody.url))
        return kept, outcome, endpoint

    return run
