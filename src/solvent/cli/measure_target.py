"""The target of a measurement from the command line's words: a URL, a command, or a model. Enter at `target_of`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solvent.errors import MeasureError

# A token's bytes in a cache are a mean: scales and centres belong to many tokens.
PER_TOK = 4096


@dataclass(slots=True)
class Wired:
    """A target, what the result says of it, and what belongs to it.

    own_process: whether it computes in this process.   text: whether prompts are text (else the target makes tokens).
    meter: whether this machine's joules are its.   close: when all is measured.   notes: for the result.
    loaded: the model of this process, whose quality can be scored."""

    target: Any
    about: dict[str, Any]
    own_process: bool
    text: bool
    meter: bool
    close: Callable[[], None] = lambda: None
    notes: Callable[[], tuple[str, ...]] = tuple
    loaded: Any = None


def target_of(name: str, places: int, http: dict[str, Any], engine: dict[str, Any]) -> Wired:
    """A URL by its scheme, a command by its adapter file (.toml), else a model of the engine.

    Raises: MeasureError, EngineError, ModelFileError"""
    if name.startswith(("http://", "https://")):
        return _http(name, http)
    if name.endswith(".toml"):
        return _command(Path(name))
    return _engine(name, places, engine)


def _http(url: str, options: dict[str, Any]) -> Wired:
    from urllib.parse import urlsplit

    from solvent.measure.http.target import HttpTarget
    from solvent.measure.http.wire import Bounds

    if options["api"] not in ("chat", "completions"):
        raise MeasureError("--api", repr(options["api"]), "chat or completions")
    if not 0 < options["timeout_s"] <= 86_400:
        raise MeasureError("--timeout-s", str(options["timeout_s"]), "seconds, above 0")
    asked = {"key": os.environ.get(options["key_env"]), **{key: options[key] for key in ("model", "api", "extra")}}
    bounds = Bounds(timeout_s=options["timeout_s"])
    target = HttpTarget.of(url, asked, bounds, token_counter(options["tokeniser"]), options["keep"])
    here = urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")
    about = {"name": url, "kind": "http", "model": options["model"], "api": options["api"], "extra": options["extra"]}
    about |= {"connections": "kept"} if options["keep"] else {}
    notes = lambda: (_stamps(target.stamps), target.connections)  # noqa: E731
    return Wired(target, about, own_process=False, text=True, meter=here, notes=notes)


def _stamps(whose: str) -> str:
    said = {"kernel": "by the system", "reader": "when they were read", "mixed": "by the system where it could"}
    return f"arrivals were stamped {said[whose]}"


def _command(path: Path) -> Wired:
    from solvent.measure.command_target import CommandTarget

    target = CommandTarget.of(path)
    return Wired(target, target.document(), own_process=False, text=True, meter=True)


def _engine(name: str, places: int, options: dict[str, Any]) -> Wired:
    from solvent.cli.engine_target import EngineTarget
    from solvent.machine.engine.load import load

    loaded = load(name, threads=options["threads"], head=options["head"], activations=options["activations"])
    kv = "f16" if options["kv"] is None else options["kv"]
    target = EngineTarget(loaded, places, kv)
    about = {**target.document(), "head": options["head"], **kept_in_cache(loaded.model.config, kv)}
    return Wired(target, about, own_process=True, text=False, meter=True, close=target.close, loaded=loaded)


def kept_in_cache(config: Any, name: str) -> dict[str, float]:
    """Bytes of a token in the cache; where some tokens stay in full precision, of how many and theirs too."""
    from dataclasses import replace

    from solvent.machine.engine.memory import cache_bytes, full_precision_tok
    from solvent.machine.turboquant.cache_format import parse

    cache = parse(name)
    codes = replace(cache, sink_tok=0, tail_tok=0)
    found: dict[str, float] = {"cache_bytes_per_tok": cache_bytes(config, PER_TOK, codes) / PER_TOK}
    if n_tok := full_precision_tok(cache):
        found |= {"cache_full_precision_tok": n_tok, "cache_full_precision_bytes_per_tok": cache_bytes(config, 1)}
    return found


def token_counter(name: str | None) -> Callable[[str], int] | None:
    """Counts tokens by the tokeniser of a model file, or by a tokenizer.json; None without one."""
    if name is None:
        return None
    if name.endswith(".json"):
        from tokenizers import Tokenizer

        try:
            read = Tokenizer.from_file(name)
        except Exception as error:
            raise MeasureError("--tokeniser", f"{name} can't be read ({error})", "a tokenizer.json") from None
        return lambda text: len(read.encode(text, add_special_tokens=False).ids)
    from solvent.machine.engine.find import find
    from solvent.machine.engine.model_file import open_model
    from solvent.machine.engine.tokeniser import Tokeniser

    own = Tokeniser.of_file(open_model(find(name)), name)
    return lambda text: len(own.encode(text, bos=False))
