"""OpenTelemetry sees what each gear did."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from fluxrig.errors import BadMessage
from fluxrig.gear import Batch, Outputs
from racks.engine import Engine
from racks.metrics import Metrics
from tests.racks.gears import FILTER, SINK, SOURCE, Applying, Collecting, Counting, Letters


def read(reader: InMemoryMetricReader) -> dict[tuple[str, str], Any]:
    """Give the data points by (instrument, gear)."""
    data = reader.get_metrics_data()
    assert data is not None
    return {
        (metric.name, point.attributes["gear"]): point
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


async def test_every_gear_is_counted() -> None:
    """Messages in, out, rejected and dropped, failures and processing time stand under the gear's name."""

    def picky(batch: Batch) -> Outputs:
        if any(message.data["seq"] == 1 for message in batch):
            raise BadMessage("one")
        if any(message.data["seq"] == 2 for message in batch):
            raise ValueError("two")
        return Outputs(batch)

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    async with Engine(dead_letters=Letters(), metrics=Metrics(provider.get_meter("test"))) as engine:
        engine.add(Counting("source", 10), SOURCE)
        engine.add(Applying("picky", picky), FILTER)
        engine.add(Collecting("sink"), SINK)
        engine.connect("source", "picky")
        engine.connect("picky", "sink")
        await engine.start()
        await engine.finished()
        points = read(reader)
    provider.shutdown()
    assert points["fluxrig.gear.emitted", "source"].value == 10
    assert points["fluxrig.gear.received", "picky"].value == 10
    assert points["fluxrig.gear.emitted", "picky"].value == 8
    assert points["fluxrig.gear.rejected", "picky"].value == 2
    assert points["fluxrig.gear.errors", "picky"].value == 1
    assert points["fluxrig.gear.dropped", "sink"].value == 0
    assert points["fluxrig.gear.waiting", "sink"].value == 0
    assert points["fluxrig.gear.process.duration", "picky"].count == 10
    assert points["fluxrig.gear.process.duration", "sink"].sum >= 0


async def test_drops_are_counted() -> None:
    """What a wire lets go of is counted at the gear that did not get it."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    async with Engine(metrics=Metrics(provider.get_meter("test"))) as engine:
        engine.add(Counting("source", 25, batch=25), SOURCE)
        engine.add(Collecting("sink"), SINK)
        wire = engine.connect("source", "sink", queue=10, when_full="drop_oldest")
        await engine.start()
        await engine.finished()
        assert read(reader)["fluxrig.gear.dropped", "sink"].value == wire.dropped == 20
    provider.shutdown()
