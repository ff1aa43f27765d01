"""Token ids of llama.cpp for texts of every script, code, emoji and odd white space.

    python tokens.py MODEL.gguf OUT.jsonl [--texts 10000] [--golden]

Needs llama-cpp-python (see requirements of the decoder benchmarks). The vocabulary and merges are
MODEL's; beside MODEL's own pre-tokenizer, its vocabulary is loaded under the names of the other rules,
so that one file checks them all: llama.cpp reads what cuts a text from the metadata alone, and loads
vocabularies without weights.

Each line of OUT has a "text", whether it is a "template" (special tokens count) or a content, and
"ids" by rule. `VDB_TOKENS=OUT.jsonl cargo test --release --test tokens` compares vdb with it. With
--golden the texts are the hard ones alone: that is how tests/golden/tokens.jsonl was made
(llama-cpp-python 0.3.36).
"""
import argparse, json, pathlib, random, struct, sys, tempfile, unicodedata

RULES = ["smollm", "llama-bpe", "qwen2", "gpt-2", "default"]
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def metadata(path):
    """Keys, types and raw bytes of the values of a GGUF file, in order."""
    with open(path, "rb") as file:
        def read(form):
            return struct.unpack("<" + form, file.read(struct.calcsize(form)))[0]

        def skip(kind):
            if kind == 8:
                file.seek(read("Q"), 1)
            elif kind == 9:
                inner, count = read("I"), read("Q")
                if inner in SCALARS:
                    file.seek(count * struct.calcsize(SCALARS[inner]), 1)
                else:
                    for _ in range(count):
                        skip(inner)
            else:
                file.seek(struct.calcsize(SCALARS[kind]), 1)

        assert file.read(4) == b"GGUF", "not a GGUF file"
        assert read("I") in (2, 3)
        read("Q")
        pairs = []
        for _ in range(read("Q")):
            key = file.read(read("Q"))
            kind = read("I")
            start = file.tell()
            skip(kind)
            end = file.tell()
            file.seek(start)
            pairs.append((key, kind, file.read(end - start)))
        return pairs


def vocabulary_file(pairs, rule, path):
    """A GGUF file with the metadata alone, cutting texts by `rule`."""
    name = rule.encode()
    with open(path, "wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)))
        for key, kind, value in pairs:
            if key == b"tokenizer.ggml.pre":
                value = struct.pack("<Q", len(name)) + name
            file.write(struct.pack("<Q", len(key)) + key + struct.pack("<I", kind) + value)


SENTENCES = """
The quick brown fox jumps over the lazy dog.|Falsches Üben von Xylophonmusik quält jeden größeren Zwerg.
Voix ambiguë d’un cœur qui, au zéphyr, préfère les jattes de kiwis.|El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia.
Съешь же ещё этих мягких французских булок, да выпей чаю.|Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.
いろはにほへと ちりぬるを わかよたれそ つねならむ|東京都の人口は約1,400万人です。|天地玄黃，宇宙洪荒。日月盈昃，辰宿列張。
다람쥐 헌 쳇바퀴에 타고파.|صِف خَلقَ خَودِ كَمِثلِ الشَمسِ إِذ بَزَغَت|דג סקרן שט בים מאוכזב ולפתע מצא חברה
ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश।|เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน
আমি বাংলায় গান গাই।|தமிழ் எழுத்துகள் அழகானவை.|ಕನ್ನಡ ಲಿಪಿ|മലയാളം അക്ഷരമാല|తెలుగు లిపి|ગુજરાતી|ਪੰਜਾਬੀ|සිංහල
ქართული ანბანი უნიკალურია.|Հայոց լեզու|አማርኛ ፊደል|ភាសាខ្មែរ|မြန်မာဘာသာ|ພາສາລາວ|བོད་ཡིག|ᓄᓇᕗᑦ|ᏣᎳᎩ|ⴰⵎⴰⵣⵉⵖ
Pchnąć w tę łódź jeża lub ośm skrzyń fig.|Příliš žluťoučký kůň úpěl ďábelské ódy.|Árvíztűrő tükörfúrógép.
Pijamalı hasta yağız şoföre çabucak güvendi.|Do bạch kim rất quý nên sẽ dùng để lắp vô xương.|Kæmi ný öxi hér, ykist þjófum nú bæði víl og ádrepa.
""".replace("\n", "|").split("|")

CODE = r'''
fn main() { let x: Vec<u32> = (0..10).map(|i| i * 2).collect(); println!("{x:?}"); }
def f(a, *b, **c):\n\treturn [x for x in b if x is not None] or {**c}  # comment
#include <stdio.h>\nint main(void) {\n    printf("%d\\n", 0xDEADBEEF);\n    return 0;\n}
SELECT "a", count(*) FROM t WHERE x >= 3.14e-10 AND y LIKE '%\'%' GROUP BY 1;
<div class="a" style='b:c'>&nbsp;&#x1F600;<!-- x --></div>
{"a": [1, 2.5e3, null, true], "b\\u00e9": "\\n"}
for i in $(seq 1 10); do echo "$i" | sed 's/[0-9]\\+/<&>/g' >> /tmp/x 2>&1; done
x = a?b:c; y = a??b; z = a?.b!.c; /* **/ // ///
\begin{align} \frac{1}{2} &= \sum_{i=0}^{\infty} x_i^{2} \\ \end{align}
0x1F 0b1010 1_000_000 1e-5 .5 5. 1.2.3 ١٢٣ ４５６ ²³¹ ½ Ⅷ ㊿ 𝟘𝟙
'''.replace("\\n", "\n").replace("\\t", "\t")

HARD = [
    "", " ", "  ", "   ", "\n", "\n\n", "\n\n\n", " \n", "\n ", "\t", "\t\t", " \t ", "\r\n", "\r", "\r\r\n\n",
    "a ", " a", "  a", "   a", "a  b", "a   b", "a\nb", "a\n\nb", "a \n b", "a\t\tb", "\u00a0a", "a\u00a0\u00a0b",
    "\u3000全角\u3000", "\u2003em\u2003 \u2003", "\u200bzero\u200bwidth\u200b", "\u0085next", "a\u0085 b",
    "\u2028line\u2029para", "\ufeffbom", "x\u000by\u000cz", "\x1c\x1d\x1e\x1f", " \u1680 ogham", "\u180emongol", "  \u00a0\n \u2009x",
    "'s 't 're 've 'm 'll 'd", "I'm we're they've he'll she'd it's don't", "I'M WE'RE THEY'VE HE'LL SHE'D IT'S", "'S'T'RE'Ve",
    "’s ’re", "''s", "'", "''", "'sx", "a's", "1's", " 's", "\n's", "'ſ 'K 'ı 'İ", "o'clock rock'n'roll",
    "0", "12", "123", "1234", "12345", "1234567890", "1,234.56", "1 2  3", "a1b2c3", "٣٤٥٦", "१२३४", "①②③④", "Ⅳ Ⅸ", "½¼¾", "x²y³", "𝟏𝟐𝟑𝟒",
    "１２３４", "3.14159265358979", "v1.2.3-rc.4+build.5", "2024-07-26T12:34:56Z", "+49 (0)30 1234-567", "1e-10", "0xFFFF", "100%", "$5.99",
    "!", "!!", "!!!", "...", "…", "?!?!", "a!b", "a !b", "a! b", "-- ---", "___", "#hashtag @mention", "a_b-c.d/e\\f", "(a)[b]{c}<d>",
    "«x» „y“ “z” ‘w’", "、。！？「」", "!\n", "!\n\n", "!\r\n\r\na", " !\n a", "...\n", ")\n}\n", "\n}\n\n", "$+<=>^~|`", "€£¥₹₿", "±×÷√∞≠≤≥", "←↑→↓⇒⇔", "░▒▓█",
    "😀", "😀😀", "👨‍👩‍👧‍👦", "👍🏽", "🇩🇪🇫🇷", "❤️‍🔥", "1️⃣2️⃣", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "a😀b", " 😀 ", "😀\n😀", "☃☃︎☃️", "🫠🫡🪿🫎", "¯\\_(ツ)_/¯",
    "é", "e\u0301", "ñ n\u0303", "Å A\u030a \u212b", "ﬁﬂ", "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!", "नि मि", "க்ஷ", "กำ", "각 각", "שָׁלוֹם", "لا ﻻ", "ǅ ǈ ǋ", "ʰ ʲ ˠ", "ª º", "ǀǁǂ",
    "中文字符", "中文 字符", "中文，字符。", "日本語テキスト", "한국어 텍스트", "ภาษาไทยไม่มีช่องว่าง", "𠀀𠀁𪜀", "ㄅㄆㄇ", "ｱｲｳ", "々〆〇", "𐌀𐌁𐌂", "𓀀𓀁", "𝔘𝔫𝔦", "𐍈", "🄰🅰",
    "\x00", "a\x00b", "\x01\x02\x03", "\x04", "a\x04b", "a\x04\x06b", "\x13x\x14", "\x7f", "\ufffd", "\ufffe\uffff", "\ue000\uf8ff", "\U000f0000", "\U0010ffff", "\U00040000\U00080000", "\U000e0001",
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "a<|im_end|>b", "<|im_start|>system\nX<|im_end|>\n", "<repo_name>x<file_sep>", "<|im_start", "<|im_start|", "<<|im_end|>>", "</s><s>", "<unk>", "[INST]", "<think>", "<empty_output>",
    "<|im_end|><|im_end|>", " <|im_end|> ", "\n<|im_end|>\n", "<|IM_END|>", "<|im_end|> \n\n x", "x  <|im_end|>  y", "<|im_start|>user\n\n\nhi  <|im_end|>",
    "supercalifragilisticexpialidocious", "antidisestablishmentarianism", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ababababababababab", "QWERTYuiop", "camelCaseWords", "SCREAMING_SNAKE", "kebab-case-words", "http://www.example.com/a?b=c&d=e#f", "user@example.org", "C:\\Users\\x\\y.txt", "/usr/local/bin", "import os\nimport sys\n\n\ndef f():\n    pass\n", "    indented\n        more\n\ttab\n", "\t\tif (x) {\n\t\t\treturn;\n\t\t}", "a" * 300, " " * 300, "\n" * 100, "ab " * 100, "=" * 80, "-" * 79 + "\n", "1" * 50, "\u00a0" * 20, "\t " * 20, " \n" * 20, "é" * 50, "中" * 50, "😀" * 20,
    "Hello, World!", "hello world", "Hello  world", "Hello\tworld", "Hello\n\nworld", " Hello", "HELLO", "The  the   THE", "naïve café résumé", "Straße", "İstanbul", "ΑΒΓ αβγ", "АБВ абв", "mixedСмешанныйΜικτό混合", "abc123def456", "x=1;y=2;", "a+b=c", "if(a&&b||c){}", "#!/bin/bash", "<!DOCTYPE html>", "{{ x }}", "{% if %}", "<?php echo 1; ?>", "a;b,c:d", "\\n\\t\\\\", "\"quoted\"", "'single'", "`code`", "**bold** _it_", "| a | b |\n|---|---|\n", "- [ ] todo\n- [x] done", "1. one\n2. two\n", "> quote", "E = mc²", "H₂O", "10°C", "5′ 6″", "½ cup", "№ 5", "§ 3", "† ‡", "© ® ™", "a…b", "a—b–c", "a\u00adb", "\u202eabc\u202c", "\u2066x\u2069", "a\u200db", "a\u034fb",
]


def texts(count, seed, source):
    rng = random.Random(seed)
    by_block = {}
    for code in range(0x80, 0x30000):
        if unicodedata.category(chr(code))[0] not in "C":
            by_block.setdefault(code >> 7, []).append(chr(code))
    blocks = list(by_block.values())
    everything = [c for block in blocks for c in block]
    white = " \t\n\r\x0b\x0c\x85\xa0\u1680\u2000\u2003\u2009\u2028\u2029\u202f\u205f\u3000"
    emoji = [chr(c) for c in [*range(0x1F300, 0x1FAFF), *range(0x2600, 0x27C0), 0x200D, 0xFE0F, *range(0x1F3FB, 0x1F400)]]
    ascii_ = [chr(c) for c in range(1, 128)]
    special = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<repo_name>", "<|im_", "end|>", "<", "|>", "\n", "user", " "]
    lines = [line for line in (CODE.splitlines() + source) if line.strip()]
    sentences = [s for s in SENTENCES if s]

    def some(pool, low, high):
        return "".join(rng.choice(pool) for _ in range(rng.randint(low, high)))

    def words():
        block = rng.choice(blocks)
        return "".join(some(block, 1, 8) + rng.choice([" ", " ", "  ", "\n", ", ", ""]) for _ in range(rng.randint(1, 12)))

    kinds = [
        words, words, words,
        lambda: some(everything, 1, 40),
        lambda: rng.choice(sentences),
        lambda: " ".join(rng.sample(sentences, 2)),
        lambda: "\n".join(lines[(s := rng.randrange(len(lines))):s + rng.randint(1, 6)]),
        lambda: "\n".join(lines[(s := rng.randrange(len(lines))):s + rng.randint(1, 6)]),
        lambda: some(emoji, 1, 20),
        lambda: "".join(rng.choice([some(emoji, 1, 2), some("abc xyz", 1, 5), some(white, 1, 2)]) for _ in range(rng.randint(1, 12))),
        lambda: some(white, 1, 30),
        lambda: "".join(some(white, 1, 4) + some(ascii_, 1, 6) for _ in range(rng.randint(1, 12))),
        lambda: some(ascii_, 1, 60),
        lambda: some("'sStTrReEvVmMlLdD ", 1, 30),
        lambda: some("0123456789.,:-+ %$eE", 1, 40),
        lambda: "".join(rng.choice(special) for _ in range(rng.randint(1, 10))),
        lambda: "".join(rng.choice(HARD) for _ in range(rng.randint(2, 4))),
        lambda: "".join(rng.choice([rng.choice(everything), rng.choice(white), rng.choice(ascii_)]) for _ in range(rng.randint(1, 60))),
    ]
    made = []
    while len(made) < count:
        text = kinds[len(made) % len(kinds)]()
        cut = rng.random()
        if cut < 0.2 and len(text) > 4:
            # Sentences and lines begin and end anywhere.
            start = rng.randrange(len(text) // 2)
            text = text[start:start + rng.randint(1, len(text))]
        made.append(text)
    return made


def source_lines():
    """This repository's own code and prose."""
    root = pathlib.Path(__file__).resolve().parents[2]
    found = []
    for pattern in ("src/**/*.rs", "bench/**/*.py", "docs/*.md", "Cargo.toml"):
        for path in sorted(root.glob(pattern)):
            found += path.read_text(encoding="utf-8").splitlines()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--golden", action="store_true")
    options = parser.parse_args()

    from llama_cpp import Llama

    pairs = metadata(options.model)
    chosen = HARD if options.golden else HARD + texts(options.texts - len(HARD), options.seed, source_lines())
    rows = [{"text": text, "template": template, "ids": {}} for text in chosen for template in ((False, True) if "<" in text else (False,))]
    with tempfile.TemporaryDirectory() as folder:
        for rule in RULES:
            path = pathlib.Path(folder) / f"{rule}.gguf"
            vocabulary_file(pairs, rule, path)
            model = Llama(str(path), vocab_only=True, verbose=False)
            for row in rows:
                row["ids"][rule] = model.tokenize(row["text"].encode(), add_bos=False, special=row["template"])
    with open(options.out, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(f"{len(rows)} rows by {len(RULES)} rules: {options.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
