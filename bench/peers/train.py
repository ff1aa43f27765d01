"""Trains beside sentence-transformers: the same base, pairs, settings and seeds, and one judge for both.

    python train.py BASE TRAIN DEV --vdb PROGRAM [--seeds 1 2 3] [--max-steps N] [--loss infonce|cosent]
    python train.py BASE TRAIN DEV --judge FOLDER ...

Needs sentence-transformers, accelerate and datasets (CPU). BASE is a folder with config.json,
model.safetensors and tokenizer.json; TRAIN and DEV are JSON lines (.gz too) with query and positive, and with
score for cosent. PROGRAM is `vdb`. Each run is a process of its own; its peak memory is what the system says.
The judge encodes with sentence-transformers, whoever trained: nDCG@10 over the distinct queries of DEV, each
distinct positive a document; Spearman of cosine and score for cosent. It prints a line of JSON a run.
`--judge` measures folders that are there.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def records(path: str) -> list[dict]:
    opened = gzip.open(path, "rt") if path.endswith(".gz") else open(path)
    with opened as lines:
        return [json.loads(line) for line in lines if line.strip()]


def model(folder: str, window: int):
    from sentence_transformers import SentenceTransformer, models

    words = models.Transformer(folder, max_seq_length=window)
    pooling = models.Pooling(words.get_word_embedding_dimension(), pooling_mode="mean")
    return SentenceTransformer(modules=[words, pooling, models.Normalize()], device="cpu")


def quality(folder: str, dev: str, window: int, loss: str) -> float:
    import numpy as np

    encoder = model(folder, window)
    encode = lambda texts: np.asarray(encoder.encode(texts, batch_size=32, show_progress_bar=False))
    pairs = records(dev)
    if loss == "cosent":
        left, right = (encode([pair[name] for pair in pairs]) for name in ("query", "positive"))
        cosine = (left * right).sum(axis=1)
        score = np.asarray([pair["score"] for pair in pairs])
        return float(np.corrcoef(average_ranks(cosine), average_ranks(score))[0, 1])
    documents = list(dict.fromkeys(pair["positive"] for pair in pairs))
    place = {text: i for i, text in enumerate(documents)}
    relevant: dict[str, set[int]] = {}
    for pair in pairs:
        relevant.setdefault(pair["query"], set()).add(place[pair["positive"]])
    queries = list(relevant)
    scores = encode(queries) @ encode(documents).T
    total = 0.0
    for row, query in zip(scores, queries):
        best = np.argsort(-row, kind="stable")[:10]
        gained = sum(1 / math.log2(rank + 2) for rank, i in enumerate(best) if i in relevant[query])
        total += gained / sum(1 / math.log2(rank + 2) for rank in range(min(10, len(relevant[query]))))
    return total / len(queries)


def average_ranks(values):
    """Ranks from 0, equal values with the mean of theirs."""
    import numpy as np

    distinct, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((ends - counts + ends - 1) / 2)[inverse]


def child(options) -> None:
    """Trains with sentence-transformers in this process."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments, losses

    encoder = model(options.base, options.window)
    pairs = records(options.train)
    columns = {"anchor": [p["query"] for p in pairs], "positive": [p["positive"] for p in pairs]}
    if options.loss == "cosent":
        columns = {"sentence1": columns["anchor"], "sentence2": columns["positive"], "score": [p["score"] for p in pairs]}
        loss = losses.CoSENTLoss(encoder, scale=20.0)
    else:
        loss = losses.MultipleNegativesRankingLoss(encoder, scale=20.0)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=options.output, num_train_epochs=options.epochs, per_device_train_batch_size=options.batch,
        learning_rate=options.lr, warmup_steps=0.1, weight_decay=0.01, max_grad_norm=1.0, lr_scheduler_type="linear",
        max_steps=options.max_steps or -1, seed=options.seed, use_cpu=True, save_strategy="no", report_to=[],
        logging_strategy="no", disable_tqdm=True, dataloader_num_workers=0,
    )
    trainer = SentenceTransformerTrainer(model=encoder, args=arguments, train_dataset=Dataset.from_dict(columns), loss=loss)
    began = time.monotonic()
    trainer.train()
    seconds = time.monotonic() - began
    encoder[0].auto_model.save_pretrained(options.output)
    shutil.copy(Path(options.base) / "tokenizer.json", options.output)
    steps = trainer.state.global_step
    seen = min(steps * options.batch, options.epochs * len(pairs))
    print(json.dumps({"seconds": seconds, "pairs_per_second": seen / seconds, "steps": steps}))


def peer(options, seed: int, output: str) -> dict:
    command = [sys.executable, __file__, options.base, options.train, options.dev, "--child", "--seed", str(seed)]
    for name in ("batch", "epochs", "lr", "window", "max_steps", "loss"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    environment = dict(os.environ, OMP_NUM_THREADS=str(options.threads), TOKENIZERS_PARALLELISM="false")
    return measured([*command, "--output", output], environment)


def ours(options, seed: int, output: str) -> dict:
    command = [options.vdb, "train", "contrastive", options.train, "--model", options.base, "--output", output]
    command += ["--batch", str(options.batch), "--epochs", str(options.epochs), "--lr", str(options.lr)]
    command += ["--window", str(options.window), "--seed", str(seed), "--threads", str(options.threads)]
    command += ["--loss", options.loss, *options.extra.split()]
    if options.max_steps:
        command += ["--max-steps", str(options.max_steps)]
    found = measured(command, dict(os.environ))
    steps = [json.loads(line) for line in (Path(output) / "log.jsonl").read_text().splitlines()]
    steps = [step for step in steps if "loss" in step]
    return {"pairs_per_second": steps[-1]["pairs_per_second"], "steps": steps[-1]["step"], **found}


def measured(command: list[str], environment: dict) -> dict:
    """Runs a program; its last line of JSON, and the most memory it had."""
    before = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    lines = [line for line in process.stdout if line.startswith("{")]
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command[0]} failed: {os.waitstatus_to_exitcode(status)}")
    told = json.loads(lines[-1]) if lines else {}
    return {**told, "whole_seconds": time.monotonic() - before, "peak_mb": usage.ru_maxrss / 1000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("train")
    parser.add_argument("dev")
    parser.add_argument("--vdb")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--lr", type=float, default=2e-5)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--max-steps", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--loss", choices=["infonce", "cosent"], default="infonce")
    parser.add_argument("--extra", default="", help="more options for vdb, in one text")
    parser.add_argument("--engines", nargs="*", choices=["vdb", "sentence-transformers"], default=["vdb", "sentence-transformers"])
    parser.add_argument("--unjudged", action="store_true", help="only speed and memory")
    parser.add_argument("--keep", help="keep the results in this folder")
    parser.add_argument("--judge", nargs="*", help="measure these folders, and train nothing")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--output", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options)
    if options.judge is not None:
        for folder in options.judge:
            found = quality(folder, options.dev, options.window, options.loss)
            print(json.dumps({"folder": folder, "quality": found}), flush=True)
        return None
    for seed in options.seeds:
        for engine in options.engines:
            with tempfile.TemporaryDirectory() as scratch:
                output = str(Path(options.keep or scratch) / f"{engine}-{seed}")
                found = (ours if engine == "vdb" else peer)(options, seed, output)
                if not options.unjudged:
                    found["quality"] = quality(output, options.dev, options.window, options.loss)
            print(json.dumps({"engine": engine, "seed": seed, **found}), flush=True)
    return None


if __name__ == "__main__":
    main()
