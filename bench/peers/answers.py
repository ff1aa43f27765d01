"""What llama.cpp writes to the prompts that vdb's decoder read, and how often it holds the answer.

    ANSWERS_PROMPTS=PROMPTS.jsonl cargo bench --bench answers -- generated
    python answers.py MODEL.gguf PROMPTS.jsonl [--limit 200] [--threads 2] [--json OUT]

Needs llama-cpp-python (see decoder.py). Each line of PROMPTS has a "part", a "prompt" with its special
tokens, the "answer", what vdb has "written" and "max_tokens". Both decode greedily. Answers are compared
as SQuAD's evaluation does (Rajpurkar 2016): lower case, no punctuation, no articles; accuracy says
whether the answer's words follow each other in what was written. The interval of the difference is
that of a paired bootstrap, 95 %.
"""
import argparse, collections, json, random, re

from llama_cpp import Llama

PARTS = ("accuracy", "exact", "f1")


def normal(text):
    words = re.findall(r"[^\W_]+", text.lower().replace("'", "").replace("’", ""))
    return [word for word in words if word not in ("a", "an", "the")]


def scores(written, answer):
    words, wanted = normal(written), normal(answer)
    n = len(wanted)
    holds = n > 0 and any(words[i : i + n] == wanted for i in range(len(words) - n + 1))
    common = sum((collections.Counter(words) & collections.Counter(wanted)).values())
    f1 = 2 * common / (len(words) + n) if common else 0.0
    return {"accuracy": float(holds), "exact": float(words == wanted), "f1": f1}


def interval(differences, rounds=2000):
    pick = random.Random(7)
    n = len(differences)
    means = sorted(sum(pick.choices(differences, k=n)) / n for _ in range(rounds))
    return means[int(0.025 * rounds)], means[int(0.975 * rounds)]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("model")
    arguments.add_argument("prompts")
    arguments.add_argument("--part", default="free, evidence", help="which of the parts")
    arguments.add_argument("--limit", type=int, default=200)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--json", help="a file for what was written")
    given = arguments.parse_args()
    with open(given.prompts, encoding="utf-8") as file:
        rows = [row for row in map(json.loads, file) if row["part"] == given.part][: given.limit]
    llama = Llama(
        given.model, n_ctx=4096, n_threads=given.threads, n_threads_batch=given.threads,
        flash_attn=True, verbose=False,
    )
    same = 0
    for row in rows:
        # The prompt has all special tokens that it needs.
        tokens = llama.tokenize(row["prompt"].encode(), add_bos=False, special=True)
        ids = []
        for token in llama.generate(tokens, temp=0.0, repeat_penalty=1.0):
            if token == llama.token_eos() or len(ids) == row["max_tokens"]:
                break
            ids.append(token)
        row["peer"] = llama.detokenize(ids).decode(errors="replace")
        same += row["peer"].strip() == row["written"].strip()
    print(f"{len(rows)} questions, {given.part}; the same text word for word: {same}")
    for part in PARTS:
        ours = [scores(row["written"], row["answer"])[part] for row in rows]
        theirs = [scores(row["peer"], row["answer"])[part] for row in rows]
        low, high = interval([a - b for a, b in zip(ours, theirs)])
        mean = lambda values: sum(values) / len(values)
        print(f"  {part}: vdb {mean(ours):.3f}, llama.cpp {mean(theirs):.3f}, "
              f"difference {mean(ours) - mean(theirs):+.3f} ({low:+.3f} to {high:+.3f})")
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
