"""Reference embeddings of all-MiniLM-L6-v2, computed in float64 with numpy alone.

    python minilm.py MODEL_FOLDER SHARED_DATA_FOLDER minilm.f16

Independent of ONNX, of ONNX Runtime and of vdb's importer: the forward pass of BERT (Devlin 2018) is
written out below from the safetensors weights, mean pooling and L2 norm as sentence-transformers do.
Versions used for the committed file: numpy 2.4.6, tokenizers 0.23.3, safetensors 0.8.0.

Texts: every line of texts.jsonl, then documents and queries of the shared data, which are not
copied here. Output: float16, one row of 384 per text.
"""
import json, math, os, sys
import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

MODEL, SHARED, OUT = sys.argv[1:4]
WINDOW, LAYERS, HEADS = 256, 6, 12
W = {k: v.astype(np.float64) for k, v in load_file(f"{MODEL}/model.safetensors").items() if v.dtype == np.float32}
tokenizer = Tokenizer.from_file(f"{MODEL}/tokenizer.json")
tokenizer.no_truncation()
tokenizer.no_padding()
erf = np.vectorize(math.erf)


def layer_norm(x, name):
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + 1e-12) * W[name + ".weight"] + W[name + ".bias"]


def linear(x, name):
    return x @ W[name + ".weight"].T + W[name + ".bias"]


def embed(text):
    ids = tokenizer.encode(text).ids
    if len(ids) > WINDOW:
        ids = ids[: WINDOW - 1] + [ids[-1]]
    e = "embeddings."
    x = W[e + "word_embeddings.weight"][ids] + W[e + "position_embeddings.weight"][: len(ids)]
    x = layer_norm(x + W[e + "token_type_embeddings.weight"][0], e + "LayerNorm")
    for layer in range(LAYERS):
        p = f"encoder.layer.{layer}."
        q, k, v = (linear(x, f"{p}attention.self.{n}") for n in ("query", "key", "value"))
        split = lambda m: m.reshape(len(ids), HEADS, -1).transpose(1, 0, 2)
        q, k, v = split(q), split(k), split(v)
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        context = (scores / scores.sum(-1, keepdims=True)) @ v
        context = context.transpose(1, 0, 2).reshape(len(ids), -1)
        x = layer_norm(linear(context, p + "attention.output.dense") + x, p + "attention.output.LayerNorm")
        h = linear(x, p + "intermediate.dense")
        h = h * 0.5 * (1 + erf(h / math.sqrt(2)))
        x = layer_norm(linear(h, p + "output.dense") + x, p + "output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def texts():
    here = os.path.dirname(os.path.abspath(__file__))
    own = [json.loads(line) for line in open(f"{here}/texts.jsonl", encoding="utf-8")]
    shared = []
    for name in ("cranfield", "med", "cisi"):
        for file, count in (("corpus", 30), ("queries", 29)):
            lines = open(f"{SHARED}/retrieval/{name}/{file}.jsonl", encoding="utf-8").readlines()
            shared += [json.loads(line)["text"] for line in lines[:count]]
    return (own + shared)[:200]


rows = np.array([embed(t) for t in texts()], dtype=np.float16)
rows.tofile(OUT)
print(rows.shape)
