"""Request counts and times in the Prometheus text format; labels are interaction and status, never ids.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator

_bounds_s = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram:
    """Durations in seconds by one label, in buckets of one millisecond to ten seconds."""

    def __init__(self, name: str, label: str, meaning: str) -> None:
        self._name, self._label, self._meaning = name, label, meaning
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(_bounds_s) + 1))

    def observe(self, label: str, seconds: float) -> None:
        """Count one duration."""
        self._seconds[label] += seconds
        self._buckets[label][bisect_left(_bounds_s, seconds)] += 1

    def lines(self) -> Iterator[str]:
        """Yield everything counted so far, as Prometheus reads it."""
        yield f"# HELP {self._name} {self._meaning}"
        yield f"# TYPE {self._name} histogram"
        for value, buckets in sorted(self._buckets.items()):
            reached, label = 0, f'{self._label}="{value}"'
            for bound, count in zip((*_bounds_s, "+Inf"), buckets, strict=True):
                reached += count
                yield f'{self._name}_bucket{{{label},le="{bound}"}} {reached}'
            yield f"{self._name}_sum{{{label}}} {self._seconds[value]:.6f}"
            yield f"{self._name}_count{{{label}}} {reached}"


class Metrics:
    """Counters of one process."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._durations = Histogram(
            "fhir_request_seconds", "interaction", "Time from the request to its answer, commit included."
        )

    def observe(self, interaction: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._counts[interaction, status] += 1
        self._durations.observe(interaction, seconds)

    def render(self) -> str:
        """Return everything counted so far, as Prometheus reads it."""
        return "\n".join([*self._requests(), *self._durations.lines(), ""])

    def _requests(self) -> Iterator[str]:
        yield "# HELP fhir_requests_total Answered FHIR requests."
        yield "# TYPE fhir_requests_total counter"
        for (interaction, status), count in sorted(self._counts.items()):
            yield f'fhir_requests_total{{interaction="{interaction}",status="{status}"}} {count}'
