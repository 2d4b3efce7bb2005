"""Writes readings in Prometheus' text format; the only place that knows the client library."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from asu.statistics.build_totals import BOUNDS, Durations

from .metrics import Metric, Readings

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4  # Every release of Prometheus reads it.
Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class Exposition:
    """Writes readings, and the metrics of this process."""

    def __init__(self) -> None:
        self._process = ProcessCollector(registry=None)

    def write(self, readings: Readings) -> bytes:
        """Return readings as text."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Given(readings))
        registry.register(self._process)
        return generate_latest(registry)


class _Given(Collector):
    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    @override
    def collect(self) -> Iterator[Family]:
        for metric, values in self._readings.items():
            yield _family(metric, values)


def _family(metric: Metric, values: Mapping[tuple[str, ...], float | Durations]) -> Family:
    labels = list(metric.labels)
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=labels)
        for at, durations in values.items():
            assert isinstance(durations, Durations)  # noqa: S101  # What a histogram is read as.
            histogram.add_metric(
                at, buckets=list(_cumulative(durations)), sum_value=durations.seconds
            )
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=labels)
    for at, value in values.items():
        assert not isinstance(value, Durations)  # noqa: S101
        family.add_metric(at, value)
    return family


def _cumulative(durations: Durations) -> Iterable[tuple[str, float]]:
    """Yield the bounds, each with how many lie below it, as Prometheus has it."""
    below = 0
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), durations.counts, strict=True):
        below += count
        yield bound, below
