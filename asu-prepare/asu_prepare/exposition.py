"""Writes readings in Prometheus' text format; the only place that knows the client library."""

from collections.abc import Iterator

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from .metrics import Readings

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4  # Every release of Prometheus reads it.


class Exposition:
    """Writes readings, and the system's own of this process."""

    def __init__(self) -> None:
        self._process = ProcessCollector(registry=None)

    def write(self, readings: Readings) -> bytes:
        """Return readings as text."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Given(readings))
        registry.register(self._process)
        return generate_latest(registry)


class _Given(Collector):
    """Collects what it was made with."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Yield each metric with its values."""
        for metric, values in self._readings.items():
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = kind(metric.name, metric.help, labels=list(metric.labels))
            for at, value in values.items():
                family.add_metric(at, value)
            yield family
