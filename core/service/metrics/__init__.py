"""Metrics: what they are declared as, what counts them, and what shows them.

A part declares its series once, in a catalogue. Its collectors can show nothing else, and docs/metrics.md
is written from it. `core.service.metrics.exposition` is the sole importer of Prometheus's client.
"""

from core.service.metrics.recorder import Recorder
from core.service.metrics.series import (
    OTHER,
    WORKER,
    Bound,
    Kind,
    Row,
    Series,
    counter,
    gauge,
    histogram,
)

__all__ = [
    "OTHER",
    "WORKER",
    "Bound",
    "Kind",
    "Recorder",
    "Row",
    "Series",
    "counter",
    "gauge",
    "histogram",
]
