"""Reference logits of SmolLM2-135M-Instruct, computed in float64 with numpy from the weights that its
GGUF file stands for.

    python smollm2.py SmolLM2-135M-Instruct.Q4_1.gguf smollm2.json

Independent of ONNX, of ONNX Runtime and of vdb's importer: the weights come from the gguf package's
own dequantisation, the forward pass of Llama (Touvron 2023) is written out below. GGUF keeps rows of
query and key permuted, so that neighbouring pairs are rotated. gguf 0.19.0 and numpy 2.4.6 were used.

Output: the tokens; after each of them 64 of the 49,152 logits (every 768th, from the 5th on), and the
likeliest token.
"""
import json, sys
import numpy as np
from gguf import GGUFReader, dequantize

# A system text and a question in the chat form of the model, then an answer's beginning.
TOKENS = [1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411, 407, 19712, 8182, 2,
          198, 1, 4093, 198, 1780, 314, 260, 3575, 282, 4649, 47, 2, 198, 1, 520, 9531, 198, 504, 3575, 282, 4649, 314]
reader = GGUFReader(sys.argv[1])
tensors = {t.name: t for t in reader.tensors}
field = lambda key: reader.fields["llama." + key].contents()
W = lambda name: dequantize(tensors[name].data, tensors[name].tensor_type).astype(np.float64)
layers, d = field("block_count"), field("embedding_length")
h, kv = field("attention.head_count"), field("attention.head_count_kv")
eps, base, hd, n = field("attention.layer_norm_rms_epsilon"), field("rope.freq_base"), d // field("attention.head_count"), len(TOKENS)

norm = lambda x, w: x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w
angles = np.arange(n)[:, None] / base ** (np.arange(0, hd, 2) / hd)
cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]


def rotate(x):
    out = np.empty_like(x)
    a, b = x[..., 0::2], x[..., 1::2]
    out[..., 0::2], out[..., 1::2] = a * cos - b * sin, b * cos + a * sin
    return out


embedding = W("token_embd.weight")
x = embedding[TOKENS]
for l in range(layers):
    p = f"blk.{l}."
    y = norm(x, W(p + "attn_norm.weight"))
    q = rotate((y @ W(p + "attn_q.weight").T).reshape(n, h, hd))
    k = rotate((y @ W(p + "attn_k.weight").T).reshape(n, kv, hd))
    v = (y @ W(p + "attn_v.weight").T).reshape(n, kv, hd)
    k, v = (np.repeat(m, h // kv, 1) for m in (k, v))
    scores = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(hd) + np.triu(np.full((n, n), -np.inf), 1)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    a = np.einsum("hij,jhd->ihd", scores / scores.sum(-1, keepdims=True), v).reshape(n, h * hd)
    x = x + a @ W(p + "attn_output.weight").T
    y = norm(x, W(p + "ffn_norm.weight"))
    gate = y @ W(p + "ffn_gate.weight").T
    x = x + (gate / (1 + np.exp(-gate)) * (y @ W(p + "ffn_up.weight").T)) @ W(p + "ffn_down.weight").T
logits = norm(x, W("output_norm.weight")) @ embedding.T
with open(sys.argv[2], "w") as file:
    rows = [{"logits": [round(float(v), 6) for v in row[5::768]], "best": int(row.argmax())} for row in logits]
    file.write('{"tokens": ' + json.dumps(TOKENS) + ', "rows": [\n' + ",\n".join(json.dumps(r) for r in rows) + "\n]}\n")
