"""The logits that tests/reranker.rs expects: transformers on the folders that the tests write with
VDB_KEEP_TINY=DIR, given here one by one."""
import sys

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

QUERY = "where is the kettle"
PASSAGES = [
    "the kettle is where a ship is",
    "music of a violin",
    "boil the water of the kettle of the harbour of the ship of the violin and the music of it all",
    "",
    "harbour xylophone",
]

for folder in sys.argv[1:]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    if model.config.type_vocab_size > 1:
        tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    pairs = [QUERY] * len(PASSAGES), PASSAGES
    inputs = tokenizer(*pairs, padding=True, truncation="longest_first", return_tensors="pt")
    print(folder, {name: list(values.shape) for name, values in inputs.items()})
    with torch.no_grad():
        print([round(x, 6) for x in model(**inputs).logits[:, 0].tolist()])
