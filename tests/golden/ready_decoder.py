"""A decoder as exporters write it: the tiny Llama of tiny_decoders.py in plain ONNX operators, with
`input_ids`, `attention_mask`, `position_ids` and `past_key_values` in, `logits` and `present` out.

    python ready_decoder.py ready_decoder.onnx

Its logits are those of tiny_decoders.json. onnx 1.20.0 was used.
"""
import sys
import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as nh
from tiny_decoders import MODELS, frequencies, weights

c = MODELS["llama"]
w = {name: value.astype(np.float32) for name, value in weights(c).items()}
heads, kv, hd, layers = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"], c["num_hidden_layers"]
nodes, constants, count = [], {}, 0


def const(name, value):
    constants.setdefault(name, nh.from_array(np.ascontiguousarray(value), name))
    return name


def op(kind, *inputs, out=None, **attributes):
    global count
    count += 1
    out = out or f"{kind}_{count}"
    nodes.append(h.make_node(kind, list(inputs), [out], **attributes))
    return out


ints = lambda *values: const("i" + "_".join(map(str, values)), np.array(values, np.int64))
scalar = lambda name, value: const(name, np.array(value, np.float32))


def norm(x, name):
    mean = op("ReduceMean", op("Mul", x, x), ints(-1))
    root = op("Sqrt", op("Add", mean, scalar("epsilon", c["rms_norm_eps"])))
    return op("Mul", op("Div", x, root), const(name, w[name + ".weight"]))


linear = lambda x, name: op("MatMul", x, const(name, w[name + ".weight"].T))
split = lambda x, n: op("Transpose", op("Reshape", x, ints(0, 0, n, hd)), perm=[0, 2, 1, 3])


def rotate(x):
    a = op("Slice", x, ints(0), ints(hd // 2), ints(3))
    b = op("Slice", x, ints(hd // 2), ints(hd), ints(3))
    turned = op("Concat", op("Neg", b), a, axis=3)
    return op("Add", op("Mul", x, "cos"), op("Mul", turned, "sin"))


def repeat(x):
    return op("Reshape", op("Expand", op("Unsqueeze", x, ints(2)), ints(1, 1, heads // kv, 1, 1)), ints(0, heads, -1, hd))


positions = op("Unsqueeze", op("Cast", "position_ids", to=T.FLOAT), ints(2))
angles = op("Mul", positions, const("frequencies", frequencies(c, hd).astype(np.float32)))
angles = op("Unsqueeze", op("Concat", angles, angles, axis=2), ints(1))
op("Cos", angles, out="cos")
op("Sin", angles, out="sin")
# A token sees those whose place is not after its own, as far as the mask has them.
places = op("Sub", op("CumSum", "attention_mask", const("axis", np.array(1, np.int64))), ints(1))
later = op("Less", op("Unsqueeze", "position_ids", ints(2)), op("Unsqueeze", places, ints(1)))
bias = op("Unsqueeze", op("Mul", op("Cast", later, to=T.FLOAT), scalar("low", -1e9)), ints(1))

x = op("Gather", const("embedding", w["model.embed_tokens.weight"]), "input_ids")
for l in range(layers):
    p = f"model.layers.{l}."
    y = norm(x, p + "input_layernorm")
    q = rotate(split(linear(y, p + "self_attn.q_proj"), heads))
    k = rotate(split(linear(y, p + "self_attn.k_proj"), kv))
    v = split(linear(y, p + "self_attn.v_proj"), kv)
    k = op("Concat", f"past_key_values.{l}.key", k, axis=2, out=f"present.{l}.key")
    v = op("Concat", f"past_key_values.{l}.value", v, axis=2, out=f"present.{l}.value")
    scores = op("MatMul", q, op("Transpose", repeat(k), perm=[0, 1, 3, 2]))
    scores = op("Add", op("Mul", scores, scalar("scale", hd**-0.5)), bias)
    a = op("MatMul", op("Softmax", scores, axis=3), repeat(v))
    a = op("Reshape", op("Transpose", a, perm=[0, 2, 1, 3]), ints(0, 0, heads * hd))
    x = op("Add", x, linear(a, p + "self_attn.o_proj"))
    y = norm(x, p + "post_attention_layernorm")
    gate = linear(y, p + "mlp.gate_proj")
    gated = op("Mul", op("Mul", gate, op("Sigmoid", gate)), linear(y, p + "mlp.up_proj"))
    x = op("Add", x, linear(gated, p + "mlp.down_proj"))
op("MatMul", norm(x, "model.norm"), const("lm_head", w["lm_head.weight"].T), out="logits")

info = h.make_tensor_value_info
cache = lambda kind, length: [
    info(f"{kind}.{l}.{what}", T.FLOAT, ["batch", kv, length, hd]) for l in range(layers) for what in ("key", "value")
]
graph = h.make_graph(
    nodes, "decoder",
    [info("input_ids", T.INT64, ["batch", "tokens"]), info("attention_mask", T.INT64, ["batch", "total"]),
     info("position_ids", T.INT64, ["batch", "tokens"])] + cache("past_key_values", "past"),
    [info("logits", T.FLOAT, ["batch", "tokens", c["vocab_size"]])] + cache("present", "total"), list(constants.values()))
model = h.make_model(graph, opset_imports=[h.make_opsetid("", 18)], ir_version=8)
onnx.checker.check_model(model, full_check=True)
onnx.save(model, sys.argv[1])
