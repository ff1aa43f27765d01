"""Exact nearest neighbours of every query, by faiss comparing with all: the right answers of the benchmark.

Run by run.py with the environment's Python, since run.py itself needs nothing but the standard library.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import faiss
import numpy as np

K = 100
BASE_ROWS_AT_ONCE = 1 << 18


def exact(base: np.ndarray, queries: np.ndarray, metric: str) -> np.ndarray:
    """Ids of the K nearest. The base goes through in slices, so that it need not fit into memory twice."""
    kind = {"ip": faiss.METRIC_INNER_PRODUCT, "l2": faiss.METRIC_L2}[metric]
    heap = faiss.ResultHeap(nq=len(queries), k=K, keep_max=metric == "ip")
    flat = (faiss.IndexFlatIP if kind == faiss.METRIC_INNER_PRODUCT else faiss.IndexFlatL2)(base.shape[1])
    for start in range(0, len(base), BASE_ROWS_AT_ONCE):
        flat.reset()
        flat.add(np.ascontiguousarray(base[start : start + BASE_ROWS_AT_ONCE]))
        distances, ids = flat.search(queries, K)
        heap.add_result(distances, ids + start)
    heap.finalize()
    return heap.I.astype("<i4")


def main() -> None:
    """`truth.py FOLDER DIM METRIC`: writes `truth.i32`, unless it is there and was made of the same."""
    folder, dim, metric = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    files = [folder / "base.f32", folder / "queries.f32"]
    made_of = {"dim": dim, "metric": metric, "files": [[f.stat().st_size, f.stat().st_mtime] for f in files]}
    truth, note = folder / "truth.i32", folder / "truth.json"
    if truth.exists() and note.exists() and json.loads(note.read_text()) == made_of:
        return
    base, queries = (np.memmap(f, "<f4", "r").reshape(-1, dim) for f in files)
    exact(base, np.array(queries), metric).tofile(truth)
    note.write_text(json.dumps(made_of))


if __name__ == "__main__":
    main()
