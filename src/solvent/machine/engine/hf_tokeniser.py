"""tokenizer.json and what lies beside it, as GGUF's `tokenizer.ggml.*` metadata.

Byte-level BPE keeps its merges; BPE in SentencePiece's manner gets scores that put its merges in the same order. How
text is cut into words is a name in GGUF; it is found by comparing the patterns (pretokenisers.toml).
What it doesn't do: tokenise, or read a SentencePiece tokenizer.model.
Enter at `tokeniser_metadata`. Source: transformers' tokenizer files; gguf's vocabulary conventions.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from solvent.errors import ModelFileError
from solvent.machine.engine.chat import MAX_SOURCE_CHARS
from solvent.machine.engine.json_file import Fields, read_file, read_json
from solvent.machine.engine.model_file import shown
from solvent.machine.engine.strings import Strings
from solvent.machine.engine.vocabulary import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED, pretokenisers

KEY = "tokenizer.ggml."
MAX_VOCABULARY = 1 << 20
# What `ByteLevel` with use_regex cuts by, and `Digits` (transformers' tokenizers library, pre_tokenizers).
GPT2_SPLIT = r"(?:'s|'t|'re|'ve|'m|'ll|'d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
GPT2_SPELLINGS = (GPT2_SPLIT, GPT2_SPLIT.replace("(?:'s|'t|'re|'ve|'m|'ll|'d)", "'s|'t|'re|'ve|'m|'ll|'d"))


def tokeniser_metadata(directory: Path, config: Fields, n_vocab: int) -> dict[str, Any]:
    """Metadata of the tokeniser in a directory; none where there is no tokenizer.json.

    n_vocab: rows of the embedding; ids without a token become unused ones.
    Raises: ModelFileError (a file that is malformed, an id outside the embedding)."""
    metadata = _chat_template(directory)
    if not (directory / "tokenizer.json").exists():
        return metadata
    if n_vocab > MAX_VOCABULARY:
        raise ModelFileError(str(directory), f"an embedding of {n_vocab} rows", f"at most {MAX_VOCABULARY}")
    file = read_json(directory / "tokenizer.json")
    model = file.fields("model")
    vocabulary = model.fields("vocab") if isinstance(model.values.get("vocab"), dict) else Fields(model.where, {})
    tokens = [f"[PAD{i}]" for i in range(n_vocab)]
    types = np.full(n_vocab, UNUSED, np.int32)
    for text, i in vocabulary.values.items():
        _place(vocabulary, text, i, n_vocab)
        tokens[i], types[i] = text, NORMAL
    spm = model.flag("byte_fallback") and not _steps(file.fields("pre_tokenizer"), "ByteLevel")
    if spm:
        for i, text in enumerate(tokens):
            if re.fullmatch(r"<0x[0-9A-F]{2}>", text):
                types[i] = BYTE
    for added in file.items("added_tokens"):
        token = Fields(f"{file.where}: added_tokens", added if isinstance(added, dict) else {})
        i, text = token.integer("id"), token.text("content")
        _place(token, text, i, n_vocab)
        tokens[i], types[i] = text, CONTROL if token.flag("special") else USER_DEFINED
    ids = {text: i for i, text in enumerate(tokens)}
    if model.has("unk_token") and model.text("unk_token") in ids:
        types[ids[model.text("unk_token")]] = UNKNOWN
        metadata[KEY + "unknown_token_id"] = ids[model.text("unk_token")]
    metadata |= {KEY + "tokens": Strings.of(tokens, f"{file.where}: tokens"), KEY + "token_type": types}
    metadata |= _spm(file, model, ids, tokens) if spm else _bpe(file, model)
    return metadata | _marks(directory, file, config, ids)


def _place(fields: Fields, text: str, i: Any, n_vocab: int) -> None:
    if type(i) is not int or not 0 <= i < n_vocab:
        raise ModelFileError(
            f"{fields.where}: {shown(text)!r}", f"id {i!r}"[:40], f"0 to {n_vocab - 1}, the embedding's rows"
        )


def _merges(model: Fields) -> list[str]:
    """Each merge as "left right", from either way of writing them."""
    merges = []
    for i, merge in enumerate(model.items("merges")):
        line = " ".join(merge) if isinstance(merge, list) and all(isinstance(m, str) for m in merge) else merge
        if not isinstance(line, str) or line.count(" ") != 1:
            raise ModelFileError(f"{model.where}: merges[{i}]", repr(merge)[:60], "two parts, neither with a space")
        merges.append(line)
    return merges


def _bpe(file: Fields, model: Fields) -> dict[str, Any]:
    if model.text("type", "BPE") != "BPE":
        # The vocabulary's reader says that it doesn't know this one.
        return {KEY + "model": f"{model.text('type')[:40]} of tokenizer.json"}
    patterns, whole_words = _patterns(file.fields("pre_tokenizer")), model.flag("ignore_merges")
    names = [
        name
        for name, rules in pretokenisers().items()
        if len(rules["splits"]) == len(patterns)
        and all(map(_same, rules["splits"], patterns))
        and rules.get("whole_words", False) == whole_words
    ]
    name = names[0] if names else f"of tokenizer.json, {patterns}"[:200]
    return {
        KEY + "model": "gpt2",
        KEY + "pre": name,
        KEY + "merges": Strings.of(_merges(model), f"{model.where}: merges"),
    }


def _same(one: str, other: str) -> bool:
    return one == other or (one in GPT2_SPELLINGS and other in GPT2_SPELLINGS)


def _steps(pre: Fields, kind: str) -> list[Fields]:
    """The steps of a pre-tokeniser or normaliser that are of a kind ("" for all), a sequence's one by one."""
    if pre.values.get("type") == "Sequence":
        steps = pre.items("pretokenizers") or pre.items("normalizers")
        inner = [Fields(pre.where, step if isinstance(step, dict) else {}) for step in steps]
    else:
        inner = [pre] if pre.values else []
    return [step for step in inner if kind in ("", step.values.get("type"))]


def _patterns(pre: Fields) -> list[str]:
    patterns = []
    for step in _steps(pre, ""):
        kind = step.text("type")
        if kind == "Split" and step.fields("pattern").has("Regex"):
            patterns.append(step.fields("pattern").text("Regex"))
        elif kind == "Digits":
            patterns.append(r"\p{N}" if step.flag("individual_digits") else r"\p{N}+")
        elif kind == "ByteLevel":
            patterns += [GPT2_SPLIT] if step.flag("use_regex", True) else []
        else:
            patterns.append(f"<{kind}>")
    return patterns


def _spm(file: Fields, model: Fields, ids: dict[str, int], tokens: list[str]) -> dict[str, Any]:
    """Scores that bring the merges into their order: minus the place of the first merge that makes the token."""
    merges = _merges(model)
    scores = np.full(len(tokens), -float(len(merges) + 1), np.float32)
    for place in range(len(merges) - 1, -1, -1):
        whole = merges[place].replace(" ", "")
        if whole not in ids:
            raise ModelFileError(
                f"{model.where}: merges[{place}]", repr(merges[place])[:60], "a merge that makes a token"
            )
        scores[ids[whole]] = -float(place)
    metaspaces = _steps(file.fields("pre_tokenizer"), "Metaspace")
    prepends = bool(_steps(file.fields("normalizer"), "Prepend")) or any(
        step.text("prepend_scheme", "always") != "never" for step in metaspaces
    )
    return {KEY + "model": "llama", KEY + "scores": scores, KEY + "add_space_prefix": prepends}


def _marks(directory: Path, file: Fields, config: Fields, ids: dict[str, int]) -> dict[str, Any]:
    """Tokens that open and end, from tokenizer_config.json, generation_config.json and config.json, in this order."""
    own, generation = (_optional(directory / f"{name}_config.json") for name in ("tokenizer", "generation"))
    marks: dict[str, Any] = {}
    for name in ("bos", "eos"):
        text = _token_text(own, f"{name}_token")
        stated = [ids[text]] if text in ids else []
        for fields in (generation, config):
            value = fields.values.get(f"{name}_token_id")
            stated += [
                i for i in (value if isinstance(value, list) else [value]) if type(i) is int and 0 <= i < len(ids)
            ]
        keys = ("bos",) if name == "bos" else ("eos", "eot", "eom")
        marks |= {f"{KEY}{key}_token_id": i for key, i in zip(keys, dict.fromkeys(stated), strict=False)}
    if own.has("add_bos_token"):
        marks[KEY + "add_bos_token"] = own.flag("add_bos_token")
    else:
        marks[KEY + "add_bos_token"] = _opens(file.fields("post_processor"))
    return marks


def _opens(post: Fields) -> bool:
    """Whether the template that surrounds a text begins with a special token."""
    inner = [Fields(post.where, step if isinstance(step, dict) else {}) for step in post.items("processors")]
    for step in [post, *inner]:
        first = step.items("single")[:1] if step.values.get("type") == "TemplateProcessing" else []
        if first and isinstance(first[0], dict) and "SpecialToken" in first[0]:
            return True
    return False


def _optional(path: Path) -> Fields:
    return read_json(path) if path.exists() else Fields(str(path), {})


def _token_text(fields: Fields, key: str) -> str:
    value = fields.values.get(key)
    return fields.fields(key).text("content", "") if isinstance(value, dict) else fields.text(key, "")


def _chat_template(directory: Path) -> dict[str, Any]:
    """The template from chat_template.jinja, or the one in tokenizer_config.json (of several, the default)."""
    path = directory / "chat_template.jinja"
    if path.exists():
        try:
            return {"tokenizer.chat_template": read_file(path, 4 * MAX_SOURCE_CHARS).decode("utf-8")}
        except UnicodeDecodeError as error:
            raise ModelFileError(str(path), str(error), "a template in UTF-8") from error
    template = _optional(directory / "tokenizer_config.json").values.get("chat_template")
    if isinstance(template, list):
        named = [t.get("template") for t in template if isinstance(t, dict) and t.get("name") == "default"]
        template = named[0] if named else None
    return {"tokenizer.chat_template": template} if isinstance(template, str) else {}
