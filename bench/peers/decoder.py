"""Measures vdb's decoder beside llama.cpp: the same file, the same threads, the same texts, in turn.

    python decoder.py MODEL.gguf TEXTS --vdb PROGRAM [--rounds 5] [--threads 2] [--requantise]

Needs numpy and llama-cpp-python, built for this machine:
`CMAKE_ARGS=-DGGML_NATIVE=ON pip install llama-cpp-python==0.3.36`. TEXTS is a file of sentences, a line
each (.xz too). PROGRAM is the benchmark `decoder_peer`. Each engine runs in a process of its own; medians
are told, and vdb's as multiples of llama.cpp's. `--requantise` adds both on Q8_0 and Q4_0, made of MODEL by
llama.cpp and kept beside it.
"""

from __future__ import annotations

import argparse
import json
import lzma
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

LENGTHS = [10, 128, 512, 1000]
WRITTEN = 64
SCORED = 200


class Engine:
    """An engine in a process of its own, asked a line of JSON at a time."""

    def __init__(self, name: str, command: list[str], threads: int):
        self.name = name
        environment = dict(os.environ, PEERS_THREADS=str(threads))
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        self.load_s = self.answer()["load_s"]

    def answer(self) -> dict:
        while line := self.process.stdout.readline():
            if line.startswith("{"):
                return json.loads(line)
        sys.exit(f"{self.name} ended without an answer")

    def ask(self, **what) -> dict:
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def peak(self) -> float:
        """The most memory it had at once, in MB: mapped files count where they were touched."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1000

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def serve(model: str) -> None:
    """llama.cpp as such a process."""
    import numpy as np
    import llama_cpp

    threads = int(os.environ["PEERS_THREADS"])
    started = time.perf_counter()
    settings = dict(n_threads=threads, n_threads_batch=threads, flash_attn=True, verbose=False, n_batch=2048)
    llama = llama_cpp.Llama(model, n_ctx=2048, **settings)
    print(json.dumps({"event": "ready", "load_s": time.perf_counter() - started}), flush=True)

    def logits(row: int = -1):
        pointer = llama_cpp.llama_get_logits_ith(llama.ctx, row)
        return np.ctypeslib.as_array(pointer, shape=(llama.n_vocab(),))

    def speed(ids: list[int], written: int) -> dict:
        llama.reset()
        started = time.perf_counter()
        llama.eval(ids)
        token = int(logits().argmax())
        first = time.perf_counter()
        out = [token]
        while len(out) <= written and token != llama.token_eos():
            llama.eval([token])
            token = int(logits().argmax())
            out.append(token)
        ended = time.perf_counter()
        text = llama.detokenize(out).decode(errors="replace")
        return {"tokens": len(ids), "prefill_s": first - started, "written": len(out) - 1,
                "decode_s": ended - first, "text": text}

    def score(ids: list[int]) -> dict:
        """One token at a time would take another kernel: all in one batch, each with its logits."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(llama.ctx), True)
        batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for place, token in enumerate(ids):
            batch.token[place], batch.pos[place] = token, place
            batch.n_seq_id[place], batch.logits[place] = 1, True
            batch.seq_id[place][0] = 0
        assert llama_cpp.llama_decode(llama.ctx, batch) == 0
        nats = 0.0
        for place, following in enumerate(ids[1:]):
            row = logits(place).astype(np.float64)
            highest = row.max()
            nats += float(np.log(np.exp(row - highest).sum()) - (row[following] - highest))
        llama_cpp.llama_batch_free(batch)
        return {"ids": ids, "nats": nats}

    for line in sys.stdin:
        asked = json.loads(line)
        ids = llama.tokenize(asked["text"].encode(), add_bos=False, special=False)
        if asked.get("count"):
            answer = {"tokens": len(ids)}
        else:
            answer = speed(ids, asked["written"]) if "written" in asked else score(ids)
        print(json.dumps(answer), flush=True)


def sentences(path: Path) -> list[str]:
    opened = lzma.open(path, "rt", encoding="utf-8") if path.suffix == ".xz" else path.open(encoding="utf-8")
    with opened as file:
        return [line.strip() for _, line in zip(range(20_000), file) if line.strip()]


def prose(texts: list[str], engine: Engine, tokens: int, nth: int) -> str:
    """Sentences that follow each other, as many as have `tokens` tokens or a few more; no two alike."""
    def count(text: str) -> int:
        return engine.ask(text=text, count=True)["tokens"]

    start = (nth * 97) % (len(texts) - 200)
    low, high = 1, 200
    while low < high:
        middle = (low + high) // 2
        enough = count(" ".join(texts[start:start + middle])) >= tokens
        low, high = (low, middle) if enough else (middle + 1, high)
    words = " ".join(texts[start:start + low]).split(" ")
    while len(words) > 1 and count(" ".join(words[:-1])) >= tokens:
        words.pop()
    return " ".join(words)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--vdb", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--requantise", action="store_true")
    parser.add_argument("--json", type=Path, help="where all measured values go")
    return parser.parse_args()


def requantised(model: Path) -> dict[str, Path]:
    """The model in llama.cpp's own simplest formats."""
    import llama_cpp

    made = {}
    for name, kind in [("Q8_0", llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0), ("Q4_0", llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0)]:
        made[name] = model.with_name(f"{model.stem}.{name}.gguf")
        if made[name].exists():
            continue
        settings = llama_cpp.llama_model_quantize_default_params()
        settings.ftype, settings.allow_requantize = kind, True
        paths = str(model).encode(), str(made[name]).encode()
        assert llama_cpp.llama_model_quantize(*paths, settings) == 0
    return made


def measure(engines: list[Engine], texts: list[str], rounds: int) -> dict:
    """Seconds a token by engine, length and phase, round after round."""
    reference = engines[0]
    found = {}
    for nth in range(rounds):
        for place, length in enumerate(LENGTHS):
            text = prose(texts, reference, length, nth * len(LENGTHS) + place)
            for engine in engines[nth % 2:] + engines[:nth % 2]:
                got = engine.ask(text=text, written=WRITTEN)
                # Two texts may begin with the same few words; the rest is read.
                seconds = got["prefill_s"] / (got["tokens"] - got.get("reused", 0))
                found.setdefault((engine.name, length, "prefill"), []).append(seconds)
                if got["written"]:
                    seconds = got["decode_s"] / got["written"]
                    found.setdefault((engine.name, length, "decode"), []).append(seconds)
    return found


def first_tokens(commands: dict[str, list[str]], text: str, threads: int, rounds: int) -> dict:
    """Seconds from nothing to the first token after a short prompt, each time in a new process."""
    found = {}
    for _ in range(rounds):
        for name, command in commands.items():
            engine = Engine(name, command, threads)
            first = engine.ask(text=text, written=1)["prefill_s"]
            found.setdefault(name, []).append(engine.load_s + first)
            engine.stop()
    return found


def perplexities(engines: list[Engine], texts: list[str]) -> dict:
    """Over the same sentences, which must have the same tokens."""
    nats, count = {e.name: 0.0 for e in engines}, 0
    for text in texts[:SCORED]:
        answers = [engine.ask(text=text) for engine in engines]
        ids = answers[0]["ids"]
        assert all(answer["ids"] == ids for answer in answers), text
        count += len(ids) - 1
        for engine, answer in zip(engines, answers):
            nats[engine.name] += answer["nats"]
    return {name: math.exp(total / count) for name, total in nats.items()}


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        return serve(sys.argv[2])
    chosen = options()
    texts = sentences(chosen.texts)
    own = [sys.executable, "-B", str(Path(__file__).resolve()), "--serve"]
    files = {"": chosen.model}
    if chosen.requantise:
        files |= {f" {name}": path for name, path in requantised(chosen.model).items()}
    commands = {}
    for suffix, path in files.items():
        commands |= {f"llama.cpp{suffix}": [*own, str(path)], f"vdb{suffix}": [chosen.vdb, str(path)]}
    # What is built once is built before anything is timed.
    for name, command in commands.items():
        Engine(name, command, chosen.threads).stop()
    engines = [Engine(name, command, chosen.threads) for name, command in commands.items()]
    short = prose(texts, engines[0], LENGTHS[0], 7)
    found = measure(engines, texts, chosen.rounds)
    peaks = {engine.name: engine.peak() for engine in engines}
    scores = perplexities(engines, texts)
    for engine in engines:
        engine.stop()
    firsts = first_tokens(commands, short, chosen.threads, chosen.rounds)
    tell(list(commands), found, peaks, scores, firsts)
    if chosen.json:
        raw = {" ".join(map(str, key)): values for key, values in found.items()}
        chosen.json.write_text(json.dumps({"seconds": raw, "peaks": peaks, "perplexity": scores, "first": firsts}))


def tell(names: list[str], found: dict, peaks: dict, scores: dict, firsts: dict) -> None:
    """Tokens a second and, in brackets, multiples of llama.cpp's on the same file: the median of the rounds' own."""
    print("| | " + " | ".join(f"{phase} at {n}" for phase in ("prefill", "decode") for n in LENGTHS) + " | peak MB | perplexity |")
    print("|---" * (3 + 2 * len(LENGTHS)) + "|")
    for name in names:
        cells = []
        for phase in ("prefill", "decode"):
            for length in LENGTHS:
                peer = name.replace("vdb", "llama.cpp")
                mine, theirs = found[name, length, phase], found[peer, length, phase]
                ratio = statistics.median(b / a for a, b in zip(mine, theirs))
                cells.append(f"{1 / statistics.median(mine):.0f} ({ratio:.2f})")
        print(f"| {name} | " + " | ".join(cells) + f" | {peaks[name]:.0f} | {scores[name]:.3f} |")
    told = []
    for name, mine in firsts.items():
        ratio = statistics.median(a / b for a, b in zip(mine, firsts[name.replace("vdb", "llama.cpp")]))
        told.append(f"{name} {statistics.median(mine):.3f} ({ratio:.2f})")
    print(f"\nload to first token, s: {', '.join(told)}")


if __name__ == "__main__":
    main()
