"""Builds the engines one after another, then asks them in turn, round after round."""

from __future__ import annotations

import statistics
from array import array
from dataclasses import dataclass, field

from child import Child, Failed

K = 10
TRUTH_K = 100
# Past this recall a larger ef says nothing more about the recalls that are compared.
ENOUGH = 0.9985
# More busy threads than this and "one thread" is not what was measured.
TOO_BUSY = 1.25


@dataclass
class Engine:
    """An engine and what was measured of it."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    ready: dict = field(default_factory=dict)
    seconds: dict[int, list[float]] = field(default_factory=dict)
    recalls: dict[int, list[float]] = field(default_factory=dict)
    busiest: float = 0.0
    failed: str | None = None
    child: Child | None = None

    def points(self, queries: int) -> list[dict]:
        """Median speed and recall at every ef."""
        return [
            {
                "ef": ef,
                "recall": statistics.median(self.recalls[ef]),
                "queries_per_s": queries / statistics.median(seconds),
                "rounds_s": seconds,
            }
            for ef, seconds in sorted(self.seconds.items())
        ]

    def fail(self, reason: str) -> None:
        """Sets it aside, and says so at once."""
        self.failed = reason
        print(f"{self.name}: {reason}", flush=True)
        if self.child:
            self.child.stop()


def build(engine: Engine, limit_s: float) -> None:
    """Starts the engine and waits for its index."""
    try:
        engine.child = Child(engine.command, engine.environment, limit_s)
        engine.ready = engine.child.answer()
        if engine.ready.get("event") != "ready":
            raise Failed(f"not ready: {engine.ready}")
        print(f"{engine.name}: built in {engine.ready['build_s']:.1f} s", flush=True)
    except (Failed, KeyError, TypeError) as error:
        engine.fail(str(error))


def rounds(engines: list[Engine], truth: list[frozenset[int]], grid: list[int], count: int) -> None:
    """Every round asks every engine at every ef.

    Machines drift: they warm up, and neighbours come and go. Taking turns spreads that over all
    engines, and starting each round with another engine keeps any from always following the same one.
    """
    for turn in range(count):
        living = [engine for engine in engines if not engine.failed]
        shift = turn % max(len(living), 1)
        for engine in living[shift:] + living[:shift]:
            try:
                one_round(engine, truth, grid)
            except Failed as error:
                engine.fail(str(error))
        print(f"round {turn + 1} of {count}", flush=True)


def one_round(engine: Engine, truth: list[frozenset[int]], grid: list[int]) -> None:
    """Asks one engine at every ef, after one run that only brings its data back into the caches."""
    engine.child.ask(grid[0], K)
    for ef in grid:
        seconds, ids, threads = engine.child.ask(ef, K)
        if len(ids) != len(truth) * K:
            raise Failed(f"{len(ids)} ids for {len(truth)} queries")
        if seconds > 0.2:  # the system counts processor time in hundredths
            engine.busiest = max(engine.busiest, threads)
        engine.seconds.setdefault(ef, []).append(seconds)
        engine.recalls.setdefault(ef, []).append(recall(ids, truth))
        if engine.recalls[ef][0] >= ENOUGH:
            break


def recall(ids: array, truth: list[frozenset[int]]) -> float:
    """The share of the true K nearest that was found; an id found twice counts once."""
    found = sum(len(near.intersection(ids[i * K : i * K + K])) for i, near in enumerate(truth))
    return found / (len(truth) * K)


def first_k(truth: array) -> list[frozenset[int]]:
    """The K nearest of every query, out of the TRUTH_K that are stored."""
    return [frozenset(truth[i : i + K]) for i in range(0, len(truth), TRUTH_K)]
