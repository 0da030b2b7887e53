"""The cache of `solvent run`: a format by name, by a divergence budget, or a file's; saved and restored prompts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from solvent.errors import EngineError, printable

if TYPE_CHECKING:
    from solvent.machine.engine.load import LanguageModel
    from solvent.machine.engine.pick_cache import CacheBudget
    from solvent.machine.engine.prefix import Prefixes
    from solvent.machine.engine.reply import Reply
    from solvent.machine.engine.saved_cache import SavedCache
    from solvent.machine.turboquant.cache_format import CacheFormat

AUTO = "auto"
BUDGET_KL = 0.02
MAX_TEXT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """What was asked for, as it was typed; None where it wasn't."""

    kv: str | None
    budget_kl: float | None
    text: Path | None
    cache_file: Path | None
    save_to: Path | None

    def saved(self) -> SavedCache | None:
        """The file to begin from, checked; and the one to write to can be written."""
        from solvent.machine.engine.saved_cache import check_writable, open_saved

        if self.save_to is not None:
            check_writable(self.save_to)
        return None if self.cache_file is None else open_saved(self.cache_file)

    def format(self, saved: SavedCache | None) -> CacheFormat | CacheBudget | str:
        """What load() is to keep keys and values as.   Raises: EngineError (options that contradict each other)"""
        from solvent.machine.engine.pick_cache import CacheBudget
        from solvent.machine.turboquant.cache_format import parse

        if self.kv != AUTO:
            for name, value in (("--kv-budget", self.budget_kl), ("--kv-text", self.text)):
                if value is not None:
                    raise EngineError(name, "given", "--kv auto beside it")
        if saved is not None:
            if self.kv is not None and (self.kv == AUTO or parse(self.kv).name != saved.format.name):
                raise EngineError(
                    str(saved.path),
                    f"keys and values as {saved.format.name}",
                    f"{self.kv}, as --kv says",
                    "leave it out",
                )
            return saved.format
        if self.kv == AUTO:
            return CacheBudget(BUDGET_KL if self.budget_kl is None else self.budget_kl, _text(self.text))
        return "f16" if self.kv is None else self.kv


def restored(loaded: LanguageModel, saved: SavedCache | None) -> Prefixes:
    """What the file holds; nothing without one."""
    from solvent.machine.engine.prefix import Prefixes

    return Prefixes() if saved is None else loaded.restore_cache(saved)


def save_prompt(prefixes: Prefixes, path: Path) -> str:
    """Saves the prompt that was read last, before its reply goes on. → what is to be said about it, after the reply"""
    from solvent.machine.engine.saved_cache import save

    read = prefixes.read[-1]
    n_bytes = save(read.sequence, list(read.tokens), path)
    return printable(f"saved {len(read.tokens):,} tokens of the prompt in {path}: {n_bytes / 1e6:.1f} MB")


def tell_picked(loaded: LanguageModel) -> None:
    """Which format a budget has had, by which measurement."""
    from solvent.report.cache_text import picked_line

    if loaded.picked is None:
        return
    per_token_bytes = loaded.cache_bytes_per_token
    typer.echo(picked_line(loaded.picked.document(), per_token_bytes), err=True)
    if not loaded.picked_now:
        typer.echo(f"measured before: {printable(str(loaded.picked_file))}", err=True)
    elif loaded.picked_file is None:
        typer.echo("not remembered: the cache folder can't be written (SOLVENT_CACHE_DIR names another)", err=True)
    else:
        typer.echo(f"remembered: {printable(str(loaded.picked_file))}", err=True)


def restored_notes(reply: Reply, saved: SavedCache | None) -> list[str]:
    """Where a file was of no use."""
    if saved is None or reply.n_known_tok or not reply.tokens:
        return []
    said = f"{saved.path}: none of its {len(saved.tokens):,} tokens restored: the prompt begins otherwise"
    return [printable(said)]


def _text(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TEXT_BYTES + 1)
        if len(data) > MAX_TEXT_BYTES:
            raise EngineError(str(path), f"more than {MAX_TEXT_BYTES >> 20} MiB", "a text of a few thousand tokens")
        return data.decode("utf-8")
    except OSError as error:
        raise EngineError(str(path), f"can't be read ({error.strerror})", "a text to measure on") from None
    except UnicodeDecodeError as error:
        raise EngineError(str(path), f"byte {error.start} isn't UTF-8", "text in UTF-8") from None
