"""The peers that are measured: the package each needs, and the class of engines.py with its settings.

Apart from engines.py, so that run.py can tell their names before anything is installed.
"""

PEERS = {
    "hnswlib": ("hnswlib", "Hnswlib", {}),
    "faiss-hnsw": ("faiss-cpu", "FaissHnsw", {}),
    "usearch-f32": ("usearch", "Usearch", {"dtype": "f32"}),
    "usearch-i8": ("usearch", "Usearch", {"dtype": "i8"}),
    "symqg-32-f32": ("rabitqlib", "SymphonyQG", {"degree": 32, "bits": 0}),
    "symqg-32-i8": ("rabitqlib", "SymphonyQG", {"degree": 32, "bits": 8}),
    "symqg-64-f32": ("rabitqlib", "SymphonyQG", {"degree": 64, "bits": 0}),
    "symqg-64-i8": ("rabitqlib", "SymphonyQG", {"degree": 64, "bits": 8}),
    "zvec-f32": ("zvec", "Zvec", {"quantized": False}),
    "zvec-i8": ("zvec", "Zvec", {"quantized": True}),
    "svs-lvq8": ("scalable-vs", "Svs", {"primary": 8, "residual": 0}),
    "svs-lvq4x8": ("scalable-vs", "Svs", {"primary": 4, "residual": 8}),
}
