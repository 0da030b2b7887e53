"""Names of providers and models as logs and catalogues write them.

Providers: every spelling leads to one id (data/providers.json, by hand from the catalogues and log formats).
Models: `spellings` are ways to write the same name that lose nothing; `key` drops what usually doesn't change
the price (snapshot date, region, vendor prefix, revision) and serves only where no spelling is listed.
What it doesn't do: choose among providers (`resolve`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_PATH = re.compile(r"^(?:models|publishers/[^/]+/models|accounts/[^/]+/models)/")
_ARN = re.compile(r"^(?:arn:[^/]*|projects/.*/models)/")
_REGION = re.compile(r"^(?:us|eu|apac|ap|au|jp|in|ca|sa|me|af|global|us-gov)\.(?=[a-z0-9-]+\.)")
_VENDOR = re.compile(
    r"^(?:anthropic|amazon|meta|mistral|cohere|deepseek|openai|qwen|ai21|writer|moonshotai|moonshot|zai|google"
    r"|nvidia|minimax|stability|twelvelabs|luma|xai)\.(?=[a-z])"
)
_REVISION = re.compile(r"-v\d+:\d+$|(?<=\d):0$")
_DATE = re.compile(r"[-@](?:20\d{6}|20\d\d-\d\d-\d\d)$")
_DEFAULT = re.compile(r"(?::latest|@latest|@default|-latest)$")
_COMPACT = re.compile(r"([-@])(20\d\d)(\d\d)(\d\d)(?=$|[-:])")


@cache
def providers() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Provider id → {"aliases": spellings, "makes": regular expressions of the closed models that it makes}."""
    text = files("solvent.money.prices").joinpath("data/providers.json").read_text("utf-8")
    return {
        name: {"aliases": tuple(entry.get("aliases", ())), "makes": tuple(entry.get("makes", ()))}
        for name, entry in json.loads(text)["providers"].items()
    }


@cache
def _by_spelling() -> Mapping[str, str]:
    spellings = {}
    for name, entry in providers().items():
        for spelling in (name, *entry["aliases"]):
            spellings[_plain(spelling)] = name
    return spellings


@cache
def _gateways() -> frozenset[str]:
    text = files("solvent.money.prices").joinpath("data/providers.json").read_text("utf-8")
    return frozenset(map(_plain, json.loads(text)["gateways"]))


def _plain(name: str) -> str:
    return re.sub(r"[\s_.-]+", "-", name.strip().lower())


def provider_id(name: str) -> str:
    """The one id of a provider, whatever the spelling; a provider that the table lacks keeps its own (lowercase)."""
    plain = _plain(name)
    known = _by_spelling().get(plain)
    if known is None and plain.startswith("vertex-ai-"):
        return "google-vertex"
    return known or name.strip().lower()


def is_provider(name: str) -> bool:
    return _plain(name) in _by_spelling()


def is_gateway(name: str) -> bool:
    """A proxy that passes requests on: it says nothing of who sells the tokens."""
    return _plain(name) in _gateways()


def maker(name: str) -> str | None:
    """The vendor whose closed models bear names like this one."""
    for provider, entry in providers().items():
        if any(re.match(pattern, name) for pattern in entry["makes"]):
            return provider
    return None


def vendor_prefixed(name: str) -> bool:
    """Whether the name is written as Bedrock does: "anthropic.claude-…", "us.anthropic.claude-…"."""
    text = _ARN.sub("", name.strip().lower())
    return _VENDOR.match(_REGION.sub("", text)) is not None


def spellings(name: str) -> tuple[str, ...]:
    """The name, lowercase, then the same without resource paths, ":latest" and with the date written otherwise."""
    found = [name.strip().lower()]
    for pattern in (_ARN, _PATH, _DEFAULT):
        found.append(pattern.sub("", found[-1]))
    found += [_COMPACT.sub(r"\1\2-\3-\4", text) for text in found]
    found += [re.sub(r"-(20\d{6})(?=$|-v\d)", r"@\1", text) for text in found]
    found += [re.sub(r"@(20\d{6})$", r"-\1", text) for text in found]
    return tuple(dict.fromkeys(text for text in found if text))


def key(name: str) -> str:
    """What names of one model have in common: no path, region, vendor, revision, date, "-latest"; dots are dashes."""
    text = _ARN.sub("", name.strip().lower()).rsplit("/", 1)[-1]
    text = _REGION.sub("", text)
    bare = _VENDOR.sub("", text)
    if bare != text:
        bare = re.sub(r"-v\d+$", "", bare)
    bare = _REVISION.sub("", bare)
    bare = _DATE.sub("", _DEFAULT.sub("", bare))
    bare = _DEFAULT.sub("", bare)
    return re.sub(r"[._:\s@]+", "-", bare).strip("-")
