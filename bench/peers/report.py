"""From measured points to queries/s at fixed recalls, and the tables made of them."""

from __future__ import annotations

import math

RECALLS = [0.95, 0.975, 0.99]


def frontier(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (recall, queries/s) that no other point beats in both, by rising recall."""
    best, kept = 0.0, []
    for recall, speed in sorted(points, reverse=True):
        if speed > best:
            best = speed
            kept.append((recall, speed))
    return kept[::-1]


def speed_at(points: list[tuple[float, float]], wanted: float) -> float | None:
    """Queries/s at a recall, or none where the engine was not measured on both sides of it.

    Between neighbouring points the logarithm of the speed is taken as linear in the logarithm of the
    recall's error: on graph indexes that is close to a straight line, where recall itself is a bend.

    >>> round(speed_at([(0.90, 1000.0), (0.99, 100.0)], 1 - 0.1 * 0.1 ** 0.5))
    316
    >>> speed_at([(0.90, 1000.0), (0.94, 100.0)], 0.95) is None
    True
    """
    line = frontier(points)
    for (low, fast), (high, slow) in zip(line, line[1:]):
        if low <= wanted <= high:
            errors = [math.log(max(1 - recall, 1e-6)) for recall in (low, wanted, high)]
            share = (errors[0] - errors[1]) / (errors[0] - errors[2])
            return math.exp((1 - share) * math.log(fast) + share * math.log(slow))
    return None


def summary(engine, queries: int) -> dict:
    """What is kept of an engine that was measured."""
    points = engine.points(queries)
    line = [(point["recall"], point["queries_per_s"]) for point in points]
    ready = {key: value for key, value in engine.ready.items() if key != "event"}
    at = {str(recall): speed_at(line, recall) for recall in RECALLS}
    return {"name": engine.name, **ready, "at_recall": at, "points": points, "busiest": engine.busiest}


def references(measured: list[dict], recall: float) -> list[float | None]:
    """The speeds that the others are told in multiples of: hnswlib's and the best SymphonyQG's."""
    speeds = {engine["name"]: engine["at_recall"][str(recall)] for engine in measured}
    symqg = [speed for name, speed in speeds.items() if name.startswith("symqg") and speed]
    return [speeds.get("hnswlib"), max(symqg, default=None)]


def cell(engine: dict, recall: float, against: list[float | None]) -> str:
    """Queries/s at a recall, then its multiples of the references."""
    speed = engine["at_recall"][str(recall)]
    if speed is None:
        recalls = [point["recall"] for point in engine["points"]]
        return f"only {max(recalls):.3f}" if max(recalls) < recall else f"from {min(recalls):.3f} up"
    multiples = [f"{speed / reference:.2f}" if reference else "–" for reference in against]
    return " · ".join([f"{speed:,.0f}", *multiples])


def whole(number: float | None) -> str:
    return "–" if number is None else f"{number:,.0f}"


def table(measured: list[dict]) -> str:
    """The comparison as a markdown table."""
    heads = [f"recall {recall}: q/s · × hnswlib · × best SymphonyQG" for recall in RECALLS]
    rows = [["engine", "build s", "bytes a vector: memory", "file", *heads], ["---"] * (4 + len(RECALLS))]
    against = {recall: references(measured, recall) for recall in RECALLS}
    for engine in measured:
        sizes = [whole(engine.get(f"{kind}bytes_per_vector")) for kind in ("memory_", "")]
        cells = [cell(engine, recall, against[recall]) for recall in RECALLS]
        rows.append([engine["name"], f"{engine['build_s']:.1f}", *sizes, *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def curves(measured: list[dict]) -> str:
    """The points that were measured, as a markdown list."""
    lines = []
    for engine in measured:
        points = [f"{p['recall']:.4f}→{p['queries_per_s']:,.0f}" for p in engine["points"]]
        lines.append(f"- {engine['name']}: {' · '.join(points)}")
    return "\n".join(lines)


def caveats(measured: list[dict], failed: dict[str, str], too_busy: float) -> str:
    """Who is missing and why, and whose "one thread" was more than one."""
    lines = [f"- {name}: not measured: {reason}" for name, reason in failed.items()]
    for engine in measured:
        if engine["busiest"] > too_busy:
            lines.append(f"- {engine['name']}: {engine['busiest']:.1f} threads were busy, not one")
    return "\n".join(lines)
