"""What compressed caches cost in quality: divergence from an f16 cache, needles, few-shot tasks, on a real model.

    .venv/bin/python tools/cache_quality.py smollm2 --text wiki.test.raw --cache q4_0 --cache tq4 \
        --contexts 2048,8192 --scored 8192 --haystacks 4 --set arc_easy.jsonl --items 200 --out cache-quality.json

Every format reads the same windows, haystacks and questions as the f16 cache; differences are paired. The first two
formats named are also compared with each other. --budget KL adds a format "auto", picked on --budget-text. Text and
sets are the user's files. What has been computed is in --out after every step, and a second run with the same
arguments goes on from there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from solvent.machine.engine.load import LanguageModel, load
from solvent.machine.engine.pick_cache import pick_cache
from solvent.machine.turboquant.cache_format import CacheFormat
from solvent.measure.machine import fingerprint
from solvent.measure.quality.divergence import Reader, Windows, kl_difference, text_divergence
from solvent.measure.quality.few_shot import pack
from solvent.measure.quality.items import ItemSet, read_items
from solvent.measure.quality.needle import needle_items
from solvent.measure.quality.paired import compare
from solvent.measure.quality.score_set import SetScore, score_set
from solvent.measure.quality.scorer import Scorer

REFERENCE = "f16"
AUTO = "auto"
PICKED: dict[str, CacheFormat] = {}


class Steps:
    """Results by name, written after every step; a step that is there isn't computed again."""

    def __init__(self, path: Path | None, about: dict[str, Any]) -> None:
        self.path = path
        self.document: dict[str, Any] = {**about, "steps": {}}
        if path is not None and path.is_file():
            old = json.loads(path.read_text("utf-8"))
            if {**old, "steps": {}} == self.document:
                self.document = old

    def run(self, name: str, work: Callable[[], dict[str, Any]]) -> None:
        if name not in self.document["steps"]:
            start_s = time.perf_counter()
            found = work()
            self.document["steps"][name] = {**found, "seconds_s": round(time.perf_counter() - start_s, 2)}
            if self.path is not None:
                temporary = self.path.with_name(self.path.name + ".tmp")
                temporary.write_text(json.dumps(self.document, indent=1) + "\n", "utf-8")
                temporary.replace(self.path)
        show(name, self.document["steps"][name])


def show(name: str, step: dict[str, Any]) -> None:
    print(f"\n{name} ({step['seconds_s']:.0f} s)")
    for variant, row in step.get("variants", {}).items():
        if "mean_kl" in row:
            low, high = row["mean_kl_low"], row["mean_kl_high"]
            interval = "" if low is None else f" [{low:.4f}, {high:.4f}]"
            print(
                f"  {variant:12} KL {row['mean_kl']:.4f}{interval}"
                f"  p99.9 {row['p999_kl']:.3f}  same top {row['same_top']:.2%}  perplexity {row['perplexity']:.3f}"
                f"  {row['n_predicted']} tokens"
            )
        else:
            print(f"  {variant:12} {row['n_right']}/{row['n']} right")
    for pair, row in step.get("pairs", {}).items():
        if "accuracy_difference" in row:
            a, p = row["accuracy_difference"], row["logprob_difference"]
            print(
                f"  {pair}: right {a['value']:+.3f} [{a['low']:+.3f}, {a['high']:+.3f}] (only one right "
                f"{row['only_this']}/{row['only_other']}, p {row['mcnemar_p']:.3g}); gold log-probability "
                f"{p['value']:+.4f} [{p['low']:+.4f}, {p['high']:+.4f}]"
            )
        else:
            print(f"  {pair}: KL {row['value']:+.5f} [{row['low']:+.5f}, {row['high']:+.5f}]")
    sys.stdout.flush()


def reader(loaded: LanguageModel, cache: str) -> Reader:
    return Reader(loaded.model, lambda context: loaded.model.new_sequence(context, PICKED.get(cache, cache)))


def encoder(loaded: LanguageModel) -> Callable[[str], list[int]]:
    return lambda text: loaded.tokeniser.encode(text, bos=False)


def divergences(loaded: LanguageModel, caches: list[str], tokens: list[int], windows: Windows) -> dict[str, Any]:
    found = text_divergence(
        reader(loaded, REFERENCE), {name: reader(loaded, name) for name in caches}, tokens, windows, tell
    )
    variants = {(REFERENCE if name == "reference" else name): one.document() for name, one in found.items()}
    pairs = {}
    if len(caches) > 1:
        pairs[f"{caches[0]} − {caches[1]}"] = asdict(kl_difference(found[caches[0]], found[caches[1]]))
    return {"windows": asdict(windows), "variants": variants, "pairs": pairs}


def scored(loaded: LanguageModel, caches: list[str], items: ItemSet, shots: str, context: int) -> dict[str, Any]:
    scores: dict[str, SetScore] = {}
    for name in (REFERENCE, *caches):
        scorer = Scorer(loaded.model, loaded.model.new_sequence(context, PICKED.get(name, name)), encoder(loaded))
        scores[name] = score_set(scorer, items, name, shots, tell)
    pairs = {f"{name} − {REFERENCE}": asdict(compare(scores[name], scores[REFERENCE])) for name in caches}
    if len(caches) > 1:
        pairs[f"{caches[0]} − {caches[1]}"] = asdict(compare(scores[caches[0]], scores[caches[1]]))
    return {
        "variants": {
            name: {"n_right": sum(s.right for s in one.scores), "n": len(one.scores), "scores": one.document()}
            for name, one in scores.items()
        },
        "pairs": pairs,
    }


def tell(done: int, all_: int) -> None:
    print(f"\r  {done}/{all_} ", end="" if done < all_ else "\r", file=sys.stderr, flush=True)


def run(options: argparse.Namespace) -> None:
    loaded = load(options.model, threads=options.threads)
    encode = encoder(loaded)
    text = options.text.read_text("utf-8")
    contexts = [int(part) for part in options.contexts.split(",")]
    about = {
        "schema": "solvent.cache-quality/1",
        "arguments": {key: str(value) for key, value in vars(options).items() if key not in ("out", "threads")},
        "machine": fingerprint(),
    }
    steps = Steps(options.out, about)
    tokens = encode(text)
    if options.budget:
        words = encode(options.budget_text.read_text("utf-8"))
        picked = pick_cache(loaded.model, words, options.budget, n_groups=options.budget_groups)
        PICKED[AUTO] = picked.format
        options.cache.append(AUTO)
        print(f"auto: {json.dumps(picked.document())}", flush=True)
    for context in contexts:
        windows = Windows(context, options.scored)
        if options.scored:
            steps.run(f"divergence {context}", lambda w=windows: divergences(loaded, options.cache, tokens, w))
        if options.haystacks:
            needles = needle_items(text, encode, context, options.haystacks)
            steps.run(f"needles {context}", lambda n=needles, c=context: scored(loaded, options.cache, n, "", c))
        for path in options.set:
            # Examples fill the context but for the longest question, which is kept below 512 tokens.
            shots, items = pack(read_items(path), encode, context - 512)
            short = [one for one in items.items if max(len(encode(one.context + e)) for e in one.endings) < 500]
            few = ItemSet(items.name, items.kind, tuple(short[: options.items]))
            steps.run(
                f"{path.stem} {context}", lambda f=few, s=shots, c=context: scored(loaded, options.cache, f, s, c)
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--text", type=Path, required=True, help="text for windows and haystacks")
    parser.add_argument("--cache", action="append", default=[], help="a cache format; give it again for more")
    parser.add_argument("--budget", type=float, help="also a format picked for this mean KL, nats a token")
    parser.add_argument("--budget-groups", type=int, default=10, help="groups of layers with the same bits")
    parser.add_argument("--budget-text", type=Path, help="what it is picked on: not what is scored")
    parser.add_argument("--contexts", default="2048,8192", help="tokens of a window, a haystack, a packed question")
    parser.add_argument("--scored", type=int, default=8192, help="predictions scored at each context; 0 for none")
    parser.add_argument("--haystacks", type=int, default=4, help="of five needles each; 0 for none")
    parser.add_argument("--set", type=Path, action="append", default=[], help="a quality set, examples packed before")
    parser.add_argument("--items", type=int, default=200, help="questions of each set")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, help="JSON with all scores; a run that was cut short goes on from it")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
