"""The peers, each behind the same three calls, and the child process that serves one of them.

One process an engine: a peer that crashes takes nothing else with it, its memory can be told apart, and
vdb, which is a program of its own, is measured in just the same way. What is written and read is
described in README.md, "A program for --vdb".

An engine has `build()`, `file_bytes()` and `prepare(queries, k, ef)`; the last gives a function that
runs all queries on one thread and returns their ids. Only that function is timed: settings, and making a
peer's query objects, are not its search.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from peers import PEERS

M = 16
EF_CONSTRUCTION = 200
Search = Callable[[], np.ndarray]


class Job:
    """What an engine is built from."""

    def __init__(self, folder: Path, dim: int, metric: str, threads: int, scratch: Path) -> None:
        self.dim, self.metric, self.threads, self.scratch = dim, metric, threads, scratch
        self.base = np.memmap(folder / "base.f32", "<f4", "r").reshape(-1, dim)
        self.queries = np.fromfile(folder / "queries.f32", "<f4").reshape(-1, dim)


class Hnswlib:
    def __init__(self, job: Job) -> None:
        import hnswlib

        self.job = job
        self.index = hnswlib.Index(job.metric, job.dim)

    def build(self) -> None:
        self.index.init_index(len(self.job.base), ef_construction=EF_CONSTRUCTION, M=M)
        self.index.add_items(self.job.base, num_threads=self.job.threads)

    def file_bytes(self) -> int:
        return self.index.index_file_size()

    def prepare(self, queries: np.ndarray, k: int, ef: int) -> Search:
        self.index.set_ef(ef)
        return lambda: self.index.knn_query(queries, k, num_threads=1)[0]


class FaissHnsw:
    def __init__(self, job: Job) -> None:
        import faiss

        self.job, self.faiss = job, faiss
        metric = {"ip": faiss.METRIC_INNER_PRODUCT, "l2": faiss.METRIC_L2}[job.metric]
        self.index = faiss.IndexHNSWFlat(job.dim, M, metric)
        self.index.hnsw.efConstruction = EF_CONSTRUCTION

    def build(self) -> None:
        self.faiss.omp_set_num_threads(self.job.threads)
        self.index.add(self.job.base)

    def file_bytes(self) -> int:
        path = self.job.scratch / "faiss"
        self.faiss.write_index(self.index, str(path))
        return size_and_remove(path)

    def prepare(self, queries: np.ndarray, k: int, ef: int) -> Search:
        self.faiss.omp_set_num_threads(1)
        self.index.hnsw.efSearch = ef
        return lambda: self.index.search(queries, k)[1]


class Usearch:
    def __init__(self, job: Job, dtype: str) -> None:
        from usearch.index import Index

        if dtype == "i8" and job.metric != "ip":
            raise ValueError("its i8 form scales every vector to unit length: inner products only")
        self.job = job
        # Its i8 form is made for the cosine, which for vectors of unit length is the inner product.
        metric = "cos" if dtype == "i8" else {"ip": "ip", "l2": "l2sq"}[job.metric]
        self.index = Index(
            ndim=job.dim, metric=metric, dtype=dtype, connectivity=M, expansion_add=EF_CONSTRUCTION
        )

    def build(self) -> None:
        self.index.add(np.arange(len(self.job.base)), self.job.base, threads=self.job.threads)

    def file_bytes(self) -> int:
        return self.index.serialized_length

    def prepare(self, queries: np.ndarray, k: int, ef: int) -> Search:
        self.index.expansion_search = ef
        return lambda: self.index.search(queries, k, threads=1).keys


class SymphonyQG:
    def __init__(self, job: Job, degree: int, bits: int) -> None:
        from rabitqlib import SymqgIndex

        self.job = job
        self.index = SymqgIndex(job.dim, degree, job.metric, bits)

    def build(self) -> None:
        self.index.build(self.job.base, EF_CONSTRUCTION, self.job.threads)

    def file_bytes(self) -> int:
        path = self.job.scratch / "symqg"
        self.index.save(str(path))
        return size_and_remove(path)

    def prepare(self, queries: np.ndarray, k: int, ef: int) -> Search:
        return lambda: self.index.search_batch(queries, k, ef, 1)[0]


class Zvec:
    """Its Python API takes one query at a time; `query_internal_ids` is the leanest form it has."""

    def __init__(self, job: Job, quantized: bool) -> None:
        import zvec

        self.job, self.zvec, self.quantized = job, zvec, quantized
        self.path = str(job.scratch / "zvec")
        zvec.init(query_threads=1, optimize_threads=job.threads)
        index = zvec.HnswIndexParam(
            metric_type={"ip": zvec.MetricType.IP, "l2": zvec.MetricType.L2}[job.metric],
            m=M,
            ef_construction=EF_CONSTRUCTION,
            quantize_type=zvec.QuantizeType.INT8 if quantized else zvec.QuantizeType.UNDEFINED,
            use_contiguous_memory=True,
            use_flat_contiguous_memory=True,
        )
        vector = zvec.VectorSchema("v", zvec.DataType.VECTOR_FP32, job.dim, index)
        self.collection = zvec.create_and_open(self.path, zvec.CollectionSchema("peers", vectors=[vector]))

    def build(self) -> None:
        for start in range(0, len(self.job.base), 1000):
            rows = enumerate(self.job.base[start : start + 1000], start)
            docs = [self.zvec.Doc(id=str(i), vectors={"v": row}) for i, row in rows]
            if not all(status.ok() for status in self.collection.insert(docs)):
                raise RuntimeError("an insert was refused")
        self.collection.optimize(self.zvec.OptimizeOption(concurrency=self.job.threads))
        self.collection.close()
        # The form that only reads has the fast path, and holds the index in memory as the others do.
        option = self.zvec.CollectionOption(read_only=True, enable_mmap=False)
        self.collection = self.zvec.open(self.path, option)

    def file_bytes(self) -> int:
        # Internal ids are not ours; the last row of the table stands for "nothing found", which is -1.
        keys = self.collection.resolve_internal_ids(np.arange(len(self.job.base)))
        self.keys = np.array([-1 if key is None else int(key) for key in keys] + [-1])
        return sum(f.stat().st_size for f in Path(self.path).rglob("*") if f.is_file())

    def prepare(self, queries: np.ndarray, k: int, ef: int) -> Search:
        param = self.zvec.HnswQueryParam(ef=ef, is_using_refiner=self.quantized)
        asked = [self.zvec.Query("v", vector=query, param=param) for query in queries]
        one = self.collection.query_internal_ids
        return lambda: self.keys[np.stack([one(query, topk=k) for query in asked])]


class Svs:
    """Intel's Scalable Vector Search: Vamana over its own compressed forms (LVQ)."""

    def __init__(self, job: Job, primary: int, residual: int) -> None:
        import svs

        self.job, self.svs = job, svs
        path = str(job.scratch / "base.fvecs")
        svs.write_vecs(job.base, path)
        vectors = svs.VectorDataLoader(path, svs.DataType.float32, dims=job.dim)
        self.loader = svs.LVQLoader(vectors, primary=primary, residual=residual)

    def build(self) -> None:
        svs = self.svs
        kind = {"ip": svs.DistanceType.MIP, "l2": svs.DistanceType.L2}[self.job.metric]
        alpha = {"ip": 0.95, "l2": 1.2}[self.job.metric]  # what its documentation names for each
        how = svs.VamanaBuildParameters(
            alpha=alpha, graph_max_degree=2 * M, window_size=EF_CONSTRUCTION
        )
        self.index = svs.Vamana.build(how, self.loader, kind, num_threads=self.job.threads)
        self.index.num_threads = 1

    def file_bytes(self) -> int:
        (self.job.scratch / "base.fvecs").unlink()
        parts = [self.job.scratch / part for part in ("config", "graph", "data")]
        self.index.save(*map(str, parts))
        files = [f for part in parts for f in part.rglob("*") if f.is_file()]
        return sum(map(size_and_remove, files))

    def prepare(self, queries: np.ndarray, k: int, ef: int) -> Search:
        self.index.search_window_size = ef
        return lambda: self.index.search(queries, k)[0]


def size_and_remove(path: Path) -> int:
    """A file's size; the file was only written to be measured."""
    size = path.stat().st_size
    path.unlink()
    return size


def own_memory() -> int:
    """Bytes of memory that are this process's own, without mapped files such as the base vectors."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what building needed and gave back is not the index
    except AttributeError:
        pass
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the system does not tell RssAnon")


def serve(name: str, job: Job, answers) -> None:
    """Builds the engine, says so, then answers one line for each that is read."""
    _, kind, settings = PEERS[name]
    engine = globals()[kind](job, **settings)
    before = own_memory()
    started = time.perf_counter()
    engine.build()
    ready = {"event": "ready", "build_s": time.perf_counter() - started}
    ready["memory_bytes_per_vector"] = (own_memory() - before) / len(job.base)
    ready["bytes_per_vector"] = engine.file_bytes() / len(job.base)
    print(json.dumps(ready), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["threads"] != 1:
            raise ValueError("the peers are asked on one thread only")
        search = engine.prepare(job.queries, asked["k"], asked["ef"])
        started = time.perf_counter()
        ids = search()
        seconds = time.perf_counter() - started
        path = job.scratch / "ids.i32"
        np.asarray(ids).astype("<i4").tofile(path)
        print(json.dumps({"seconds": seconds, "ids": str(path)}), file=answers, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=PEERS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--dim", type=int, required=True)
    parser.add_argument("--metric", choices=["ip", "l2"], required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    # Some peers print. What they print goes to stderr, so that stdout holds answers only.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    job = Job(options.folder, options.dim, options.metric, options.threads, options.scratch)
    serve(options.engine, job, answers)


if __name__ == "__main__":
    main()
