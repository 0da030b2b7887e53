"""Which concurrencies a sweep tries, and where the knee lies: the most throughput for its latency.

The knee is the concurrency with the largest power, throughput ÷ latency. For a station of m equal servers it is m:
below it servers idle, above it requests wait. A sweep doubles until throughput grows by less than 5% or the limit is
reached, then halves the gaps beside the best one.
Enter at `next_concurrency` and `knee_of`. Source: Kleinrock, Power and deterministic rules of thumb, ICC 1979.
"""

from __future__ import annotations

from collections.abc import Mapping

MIN_GROWTH = 1.05
# A gap of less than a quarter of the knee is below what a measurement tells apart.
FINEST = 0.25

# Concurrency → answers a second, and mean latency in seconds.
Points = Mapping[int, tuple[float, float]]


def next_concurrency(points: Points, limit: int) -> int | None:
    """The next one to measure; None where the sweep is done."""
    if not points:
        return 1
    doubled = [c for c in sorted(points) if c & (c - 1) == 0]
    last = doubled[-1]
    grows = len(doubled) < 2 or points[last][0] >= MIN_GROWTH * points[doubled[-2]][0]
    if grows and 2 * last <= limit:
        return 2 * last
    knee = knee_of(points)
    measured = sorted({*points, *([limit] if grows and limit > last else [])})
    if grows and limit > last and limit not in points:
        return limit
    at = measured.index(knee)
    for low, high in zip(measured[max(at - 1, 0) : at + 1], measured[max(at - 1, 0) + 1 : at + 2], strict=False):
        if high - low > max(1, FINEST * knee):
            return (low + high) // 2
    return None


def knee_of(points: Points) -> int:
    """argmax throughput/latency, the smallest of equals.   Raises: nothing; there is at least one point."""
    return max(sorted(points), key=lambda c: points[c][0] / points[c][1])
