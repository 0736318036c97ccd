"""Request counts and times in the Prometheus text format; labels are interaction and status, never ids.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator

_bounds_s = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters of one process."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(_bounds_s) + 1))

    def observe(self, interaction: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._counts[interaction, status] += 1
        self._seconds[interaction] += seconds
        self._buckets[interaction][bisect_left(_bounds_s, seconds)] += 1

    def render(self) -> str:
        """Return everything counted so far, as Prometheus reads it."""
        return "\n".join([*self._requests(), *self._durations(), ""])

    def _requests(self) -> Iterator[str]:
        yield "# HELP fhir_requests_total Answered FHIR requests."
        yield "# TYPE fhir_requests_total counter"
        for (interaction, status), count in sorted(self._counts.items()):
            yield f'fhir_requests_total{{interaction="{interaction}",status="{status}"}} {count}'

    def _durations(self) -> Iterator[str]:
        yield "# HELP fhir_request_seconds Time from the request to its answer, commit included."
        yield "# TYPE fhir_request_seconds histogram"
        for interaction, buckets in sorted(self._buckets.items()):
            reached = 0
            for bound, count in zip((*_bounds_s, "+Inf"), buckets, strict=True):
                reached += count
                yield f'fhir_request_seconds_bucket{{interaction="{interaction}",le="{bound}"}} {reached}'
            yield f'fhir_request_seconds_sum{{interaction="{interaction}"}} {self._seconds[interaction]:.6f}'
            yield f'fhir_request_seconds_count{{interaction="{interaction}"}} {reached}'
