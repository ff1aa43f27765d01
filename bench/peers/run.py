"""Measures vdb's vector search beside its peers: build time, size, and queries/s at the same recall.

Needs nothing but Python 3.11 or newer on Linux; the peers go into a virtual environment of their own.
README.md tells how to use it.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from array import array
from pathlib import Path

sys.dont_write_bytecode = True  # leaves no cache among the sources

import chart
import environment
import measure
import report
from measure import Engine
from peers import PEERS

HERE = Path(__file__).resolve().parent
GRID = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024]
QUICK_GRID = [16, 32, 64, 128, 256, 512]


def options() -> argparse.Namespace:
    target = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parents[1] / "target"))
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("data", type=Path, help="folder of base.f32 and queries.f32, little-endian floats, n x dim")
    add("--dim", type=int, required=True, help="floats a vector")
    add("--metric", choices=["ip", "l2"], default="ip")
    add("--vdb", metavar="PROGRAM", help="a program that serves vdb (README.md), with arguments if wanted")
    add("--engines", default="", help=f"those to measure, by name or its beginning, of: {', '.join(PEERS)}")
    add("--rounds", type=int, help="how often each is measured; medians are kept (default 5, quick 3)")
    add("--max-build-threads", type=int, default=len(os.sched_getaffinity(0)))
    add("--quick", action="store_true", help="fewer points and fewer rounds")
    add("--limit", type=float, default=3600, help="seconds an engine may take to build, or to answer")
    add("--venv", type=Path, default=target / "peers" / "venv", help="where the peers are installed")
    add("--json", type=Path, default=target / "peers" / "results.json", help="where the results go")
    add("--svg", type=Path, help="where the chart goes (default: beside the results)")
    chosen = parser.parse_args()
    chosen.rounds = chosen.rounds or (3 if chosen.quick else 5)
    chosen.svg = chosen.svg or chosen.json.with_suffix(".svg")
    return chosen


def engines(chosen: argparse.Namespace, python: Path, scratch: Path, absent: dict[str, str]) -> list[Engine]:
    """The engines that were asked for; those whose package is absent have failed already."""
    starts = tuple(filter(None, chosen.engines.split(",")))
    common = ["--dim", str(chosen.dim), "--metric", chosen.metric, "--threads", str(chosen.max_build_threads)]
    listed = []
    for name, (package, _, _) in PEERS.items():
        if starts and not name.startswith(starts):
            continue
        own = scratch / name
        own.mkdir()
        command = [str(python), "-B", str(HERE / "engines.py"), name, str(chosen.data), str(own), *common]
        listed.append(Engine(name, command))
        if package in absent:
            listed[-1].fail(f"{package} did not install: {absent[package]}")
    return listed + vdb(chosen)


def vdb(chosen: argparse.Namespace) -> list[Engine]:
    """The program that serves vdb, told in its environment what its one argument does not say."""
    if not chosen.vdb:
        return []
    told = {
        "PEERS_DIM": str(chosen.dim),
        "PEERS_METRIC": chosen.metric,
        "PEERS_BUILD_THREADS": str(chosen.max_build_threads),
    }
    return [Engine("vdb", [*shlex.split(chosen.vdb), str(chosen.data)], told)]


def right_answers(chosen: argparse.Namespace, python: Path) -> list[frozenset[int]]:
    """The exact nearest neighbours, computed where they are not there yet."""
    command = [str(python), "-B", str(HERE / "truth.py"), str(chosen.data), str(chosen.dim), chosen.metric]
    subprocess.run(command, check=True)
    return measure.first_k(array("i", (chosen.data / "truth.i32").read_bytes()))


def versions(python: Path) -> list[str]:
    """What is installed, for the record."""
    return sorted(environment.installed(python) & set(environment.pinned()))


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown processor"
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")


def conditions(chosen: argparse.Namespace, python: Path, queries: int) -> dict:
    """What the numbers depend on besides the engines."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "vectors": (chosen.data / "base.f32").stat().st_size // (4 * chosen.dim),
        "queries": queries,
        "dim": chosen.dim,
        "metric": chosen.metric,
        "rounds": chosen.rounds,
        "build_threads": chosen.max_build_threads,
        "versions": versions(python),
    }


def compare(all_engines: list[Engine], truth: list[frozenset[int]], chosen: argparse.Namespace) -> None:
    """Builds one engine at a time, each with all threads to itself, then measures them in turn."""
    try:
        for engine in all_engines:
            if not engine.failed:
                measure.build(engine, chosen.limit)
        grid = QUICK_GRID if chosen.quick else GRID
        measure.rounds(all_engines, truth, grid, chosen.rounds)
    finally:
        for engine in all_engines:
            if engine.child:
                engine.child.stop()


def tell(all_engines: list[Engine], facts: dict, chosen: argparse.Namespace) -> None:
    """Prints the tables and writes the results and the chart."""
    measured = [report.summary(e, facts["queries"]) for e in all_engines if not e.failed]
    failed = {e.name: e.failed for e in all_engines if e.failed}
    heading = f"{facts['vectors']:,} vectors of {facts['dim']} floats, {facts['queries']:,} queries"
    print(f"\n{heading}, k = {measure.K}, {facts['processor']}, {facts['cores']} cores\n")
    print(report.table(measured), report.curves(measured), sep="\n\n")
    print(f"\n{report.caveats(measured, failed, measure.TOO_BUSY)}".rstrip())
    for path in (chosen.json, chosen.svg):
        path.parent.mkdir(parents=True, exist_ok=True)
    results = {"conditions": facts, "engines": measured, "failed": failed}
    chosen.json.write_text(json.dumps(results, indent=1) + "\n")
    chosen.svg.write_text(chart.draw(measured, f"{facts['vectors']:,} vectors, {facts['dim']} dimensions"))


def main() -> int:
    chosen = options()
    python, absent = environment.make(chosen.venv)
    for needed in ("numpy", "faiss-cpu"):
        if needed in absent:
            print(f"{needed} is needed for the right answers: {absent[needed]}", file=sys.stderr)
            return 1
    truth = right_answers(chosen, python)
    facts = conditions(chosen, python, len(truth))
    with tempfile.TemporaryDirectory(prefix="peers-") as scratch:
        all_engines = engines(chosen, python, Path(scratch), absent)
        compare(all_engines, truth, chosen)
    tell(all_engines, facts, chosen)
    return 0 if any(not engine.failed for engine in all_engines) else 1


if __name__ == "__main__":
    sys.exit(main())
