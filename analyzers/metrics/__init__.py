"""What is measured of a host: metrics as data, and the mergeable partials they are counted in."""

from analyzers.metrics.definitions import Meaning, Metric, MetricSet
from analyzers.metrics.partial import Distinct, Partial

__all__ = ["Distinct", "Meaning", "Metric", "MetricSet", "Partial"]
