"""Reference logits of tiny decoders with random weights, computed in float64 with numpy alone.

    python tiny_decoders.py tiny_decoders.json

Independent of ONNX, of ONNX Runtime and of vdb's importer: the forward passes of Llama (Touvron 2023),
Llama 3.1's scaled rotary frequencies, Qwen2 (biases of query, key and value) and Qwen3 (norms of each
head's query and key) are written out below, with the names and conventions of published safetensors:
rotation of halves, matrices stored outputs by inputs. tests/decoder.rs makes the same weights with the
same generator (xorshift64), every one exact in float32. numpy 2.4.6 was used.

Output: for each model its configuration, the tokens, and the logits after each token.
"""
import json, sys
import numpy as np

MASK = (1 << 64) - 1
TOKENS = [1, 17, 42, 42, 3, 60, 8, 25, 31, 9, 0, 55, 12, 12]
COMMON = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
              num_key_value_heads=2, vocab_size=64, max_position_embeddings=128, rms_norm_eps=1e-5,
              rope_theta=10000.0, hidden_act="silu", bos_token_id=1, eos_token_id=2, tie_word_embeddings=False)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=16)
MODELS = {
    "llama": dict(COMMON, model_type="llama", architectures=["LlamaForCausalLM"], head_dim=16),
    "llama3": dict(COMMON, model_type="llama", architectures=["LlamaForCausalLM"], head_dim=16, rope_scaling=LLAMA3,
                   tie_word_embeddings=True),
    "qwen2": dict(COMMON, model_type="qwen2", architectures=["Qwen2ForCausalLM"], hidden_size=64, tie_word_embeddings=True),
    "qwen3": dict(COMMON, model_type="qwen3", architectures=["Qwen3ForCausalLM"], head_dim=16),
}


def shapes(c):
    """Names and shapes of a model's tensors, in the order in which they draw random numbers."""
    d, ff, v = c["hidden_size"], c["intermediate_size"], c["vocab_size"]
    h, kv = c["num_attention_heads"], c["num_key_value_heads"]
    hd = c.get("head_dim", d // h)
    yield "model.embed_tokens.weight", (v, d)
    for l in range(c["num_hidden_layers"]):
        p = f"model.layers.{l}."
        yield p + "input_layernorm.weight", (d,)
        for n, rows in (("q", h * hd), ("k", kv * hd), ("v", kv * hd)):
            yield p + f"self_attn.{n}_proj.weight", (rows, d)
            if c["model_type"] == "qwen2":
                yield p + f"self_attn.{n}_proj.bias", (rows,)
        if c["model_type"] == "qwen3":
            yield p + "self_attn.q_norm.weight", (hd,)
            yield p + "self_attn.k_norm.weight", (hd,)
        yield p + "self_attn.o_proj.weight", (d, h * hd)
        yield p + "post_attention_layernorm.weight", (d,)
        yield p + "mlp.gate_proj.weight", (ff, d)
        yield p + "mlp.up_proj.weight", (ff, d)
        yield p + "mlp.down_proj.weight", (d, ff)
    yield "model.norm.weight", (d,)
    if not c["tie_word_embeddings"]:
        yield "lm_head.weight", (v, d)


def weights(c):
    state, out = 0x9E3779B97F4A7C15, {}
    for name, shape in shapes(c):
        values = []
        for _ in range(int(np.prod(shape))):
            state ^= state << 13 & MASK
            state ^= state >> 7
            state ^= state << 17 & MASK
            x = ((state >> 40) - (1 << 23)) / (1 << 23)                  # 24 bits, from -1 to 1
            values.append(1 + x / 4 if "norm" in name else x / 4)
        w = np.array(values).reshape(shape)
        out[name] = w.astype(np.float32).astype(np.float64)
    return out


def frequencies(c, hd):
    f = 1 / c["rope_theta"] ** (np.arange(0, hd, 2) / hd)
    s = c.get("rope_scaling")
    if s:                                                               # Llama 3.1
        long, short = (s["original_max_position_embeddings"] / s[k] for k in ("low_freq_factor", "high_freq_factor"))
        wave = 2 * np.pi / f
        smooth = (s["original_max_position_embeddings"] / wave - s["low_freq_factor"]) / (s["high_freq_factor"] - s["low_freq_factor"])
        middle = (1 - smooth) * f / s["factor"] + smooth * f
        f = np.where(wave > long, f / s["factor"], np.where(wave < short, f, middle))
    return f


def logits(c, w, tokens):
    d, h, kv = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"]
    hd, n = c.get("head_dim", d // h), len(tokens)
    norm = lambda x, name: x / np.sqrt((x * x).mean(-1, keepdims=True) + c["rms_norm_eps"]) * w[name + ".weight"]
    linear = lambda x, name: x @ w[name + ".weight"].T + w.get(name + ".bias", 0)
    angles = np.arange(n)[:, None] * frequencies(c, hd)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]

    def rotate(x):
        a, b = x[..., : hd // 2], x[..., hd // 2 :]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    x = w["model.embed_tokens.weight"][tokens]
    for l in range(c["num_hidden_layers"]):
        p = f"model.layers.{l}."
        y = norm(x, p + "input_layernorm")
        q = linear(y, p + "self_attn.q_proj").reshape(n, h, hd)
        k = linear(y, p + "self_attn.k_proj").reshape(n, kv, hd)
        v = linear(y, p + "self_attn.v_proj").reshape(n, kv, hd)
        if c["model_type"] == "qwen3":
            q, k = norm(q, p + "self_attn.q_norm"), norm(k, p + "self_attn.k_norm")
        q, k = rotate(q), rotate(k)
        k, v = (np.repeat(m, h // kv, 1) for m in (k, v))
        scores = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(hd)
        scores += np.triu(np.full((n, n), -np.inf), 1)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        a = np.einsum("hij,jhd->ihd", scores / scores.sum(-1, keepdims=True), v).reshape(n, h * hd)
        x = x + linear(a, p + "self_attn.o_proj")
        y = norm(x, p + "post_attention_layernorm")
        gate = linear(y, p + "mlp.gate_proj")
        x = x + linear(gate / (1 + np.exp(-gate)) * linear(y, p + "mlp.up_proj"), p + "mlp.down_proj")
    y = norm(x, "model.norm")
    return y @ w["model.embed_tokens.weight" if c["tie_word_embeddings"] else "lm_head.weight"].T


if __name__ == "__main__":
    found = []
    for name, config in MODELS.items():
        rows = logits(config, weights(config), TOKENS)
        found.append({"name": name, "config": config, "tensors": [[n, list(s)] for n, s in shapes(config)],
                      "tokens": TOKENS, "logits": [[round(float(x), 7) for x in row] for row in rows]})
    with open(sys.argv[1], "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(model) for model in found) + "\n]\n")
