"""OpenTelemetry GenAI spans: OTLP JSON (one document, or one per line), or the spans that SDK consoles print.

Read: `gen_ai.usage.*` under its present and deprecated names, and OpenInference's `llm.token_count.*`. Spans of
agents, tools and workflows sum up their children, so they are parents, not requests; an agent span whose trace
holds no model call is rejected instead of dropped. By the convention input holds its cached part; Anthropic's
own counts don't, and an instrumentation that hands them through is known by more cached tokens than input.
What it doesn't do: read prompts, answers, events. Enter at `Reader`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from solvent.money.usage.readers.outcome import (
    Fault,
    NotARequest,
    Outcome,
    Reading,
    Row,
    Skip,
    carries,
    count,
    finish,
    mapping,
    service_of,
)  # fmt: skip

NAME = "otel"

_U = "gen_ai.usage."
_L = "llm.token_count."
INPUT = (f"{_U}input_tokens", f"{_U}prompt_tokens", f"{_L}prompt", "llm.usage.prompt_tokens")
OUTPUT = (f"{_U}output_tokens", f"{_U}completion_tokens", f"{_L}completion", "llm.usage.completion_tokens")
TOTAL = (f"{_U}total_tokens", f"{_L}total", "llm.usage.total_tokens")
READ = (f"{_U}cache_read.input_tokens", f"{_U}cache_read_input_tokens", f"{_U}input_cached_tokens",
        f"{_U}cached_tokens", f"{_U}details.cache_read_tokens", f"{_U}details.cache_read_input_tokens",
        f"{_U}details.cached_tokens", f"{_L}prompt_details.cache_read")  # fmt: skip
WRITE = (f"{_U}cache_creation.input_tokens", f"{_U}cache_creation_input_tokens", f"{_U}cache_write.input_tokens",
         f"{_U}details.cache_write_tokens", f"{_U}details.cache_creation_input_tokens",
         f"{_L}prompt_details.cache_write")  # fmt: skip
REASONING = (f"{_U}reasoning.output_tokens", f"{_U}reasoning_output_tokens", f"{_U}reasoning_tokens",
             f"{_U}details.reasoning_tokens", f"{_L}completion_details.reasoning")  # fmt: skip
AUDIO_IN = (f"{_L}prompt_details.audio", f"{_U}details.input_audio_tokens")
AUDIO_OUT = (f"{_L}completion_details.audio", f"{_U}details.output_audio_tokens", f"{_U}details.audio_tokens")
# Known and nothing to add: costs, and the vendor's own counts that an instrumentation repeats.
_BARREN = (f"{_U}cost", f"{_U}details.input_tokens", f"{_U}details.output_tokens",
           f"{_U}details.accepted_prediction_tokens", f"{_U}details.rejected_prediction_tokens")  # fmt: skip
KNOWN = frozenset((*INPUT, *OUTPUT, *TOTAL, *READ, *WRITE, *REASONING, *AUDIO_IN, *AUDIO_OUT, *_BARREN))
_PREFIXES = (_U, _L)

CUSTOMER = ("enduser.id", "user.id", "tenant.id", "customer.id", "langfuse.user.id")
PROVIDER = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
_PARENTS = ("invoke_agent", "create_agent", "execute_tool", "invoke_workflow", "retrieval", "plan")
_PARENT_KINDS = ("AGENT", "CHAIN", "TOOL", "RETRIEVER", "RERANKER", "GUARDRAIL", "EVALUATOR", "PROMPT")
_PROVIDERS = {
    "gcp.gemini": "google", "gcp.gen_ai": "google", "gcp.vertex_ai": "google", "vertex_ai": "google",
    "gemini": "google", "vertexai": "google", "aws.bedrock": "aws", "azure.ai.openai": "azure", "az.ai.openai": "azure",
    "azure.ai.inference": "azure", "az.ai.inference": "azure", "x_ai": "x-ai", "xai": "x-ai", "mistral_ai": "mistral",
}  # fmt: skip
# Vendors whose own counts put the cache beside input, and reasoning beside output.
_CACHE_BESIDE = ("anthropic", "aws")
_REASONING_BESIDE = ("google", "x-ai")
# Traces remembered to tell whether an agent span's own model calls were logged: about 100 B each.
MAX_TRACES = 1_000_000


def recognises(record: dict[str, Any]) -> bool:
    """Whether a record is an OTLP document or a span."""
    if any(key in record for key in ("resourceSpans", "resource_spans", "scopeSpans")):
        return True
    if type(record.get("batches")) is list and any("scopeSpans" in mapping(b) for b in record["batches"]):
        return True
    context = mapping(record.get("context"))
    spans = "span_id" in context or "spanId" in record or "span_id" in record
    return spans and type(record.get("attributes")) in (dict, list)


class Reader:
    """One file of spans; remembers which traces hold a model call."""

    def __init__(self, label: str, reading: Reading) -> None:
        self.reading = reading
        self.unknown_keys: list[str] = []
        self._called: set[str] = set()
        self._agents: dict[str, int] = {}

    def feed(self, record: dict[str, Any], line: int) -> Iterable[Outcome]:
        outcomes = [self._outcome(span, attributes) for span, attributes in _spans(record)]
        return outcomes or (NotARequest("a document without spans"),)

    def finish(self) -> Iterable[Outcome]:
        """Agent spans with usage whose trace holds no model call: their usage would be lost."""
        full = len(self._called) >= MAX_TRACES
        lost = [] if full else [n for trace, n in self._agents.items() if trace not in self._called]
        fault = Fault("no_usage", "an agent span with usage whose trace holds no model call",
                      "export the spans of the model calls too")  # fmt: skip
        return [fault.reject] * sum(lost)

    def _outcome(self, span: dict[str, Any], attributes: dict[str, Any]) -> Outcome:
        try:
            return self._row(span, attributes)
        except Fault as fault:
            return fault.reject
        except Skip as skip:
            return skip.outcome

    def _row(self, span: dict[str, Any], a: dict[str, Any]) -> Row:
        context = mapping(span.get("context"))
        trace = _text(span.get("traceId") or span.get("trace_id") or context.get("trace_id"))
        ident = _text(span.get("spanId") or span.get("span_id") or context.get("span_id"))
        operation = a.get("gen_ai.operation.name")
        self._check_kind(span, a, operation, trace)
        provider = next((a[key] for key in PROVIDER if carries(a.get(key))), None)
        provider = _PROVIDERS.get(provider.lower(), provider.lower()) if type(provider) is str else None
        model = (a.get("gen_ai.response.model") or a.get("gen_ai.request.model") or a.get("llm.model_name")
                 or a.get("embedding.model_name"))  # fmt: skip
        claude = provider in _CACHE_BESIDE or (provider is None and type(model) is str and "claude" in model)
        buckets = self._buckets(a, claude, provider in _REASONING_BESIDE)
        if trace and len(self._called) < MAX_TRACES:
            self._called.add(trace)
        response = a.get("gen_ai.response.id")
        found = {
            "request_id": f"{NAME}:{response}" if type(response) is str and response
            else f"{NAME}:{trace}:{ident}" if ident else None,
            "output_id": trace, "at": _start(span),
            "customer": next((a[key] for key in CUSTOMER if carries(a.get(key))), None),
            "feature": a.get("gen_ai.agent.name") or a.get("service.name") or operation,
            "provider": provider, "model": model,
            "service": service_of(a.get("gen_ai.openai.response.service_tier") or a.get("openai.response.service_tier")
                                  or a.get("gen_ai.openai.request.service_tier"), self.unknown_keys),
        }  # fmt: skip
        return finish(self._named(found, a), {}, found, buckets)

    def _named(self, found: dict[str, Any], a: dict[str, Any]) -> Reading:
        """[log.columns] name attributes here, which hold dots of their own."""
        if not self.reading.columns:
            return self.reading
        for target, key in self.reading.columns.items():
            if type(a.get(key)) in (str, int, float):
                found[target] = service_of(a[key], self.unknown_keys) if target == "service" else a[key]
        return Reading(self.reading.zone, self.reading.default_at, {}, self.reading.constants)

    def _check_kind(self, span: dict[str, Any], a: dict[str, Any], operation: Any, trace: str | None) -> None:
        """Ends with Skip where a span is no model call."""
        used = any(carries(a.get(key)) for key in (*INPUT, *OUTPUT))
        if operation in _PARENTS or a.get("openinference.span.kind") in _PARENT_KINDS:
            if used and trace and len(self._agents) < MAX_TRACES:
                self._agents[trace] = self._agents.get(trace, 0) + 1
            raise Skip("a span of an agent or a tool: its model calls are counted")
        if used:
            return
        if operation is None and a.get("openinference.span.kind") not in ("LLM", "EMBEDDING"):
            raise Skip("a span that isn't a model call")
        if mapping(span.get("status")).get("code", mapping(span.get("status")).get("status_code")) in (
            2, "2", "STATUS_CODE_ERROR", "ERROR") or "error.type" in a:  # fmt: skip
            raise Skip("a failed call without usage")
        if any(key in a for key in (*INPUT, *OUTPUT)):
            return
        raise Fault("no_usage", "a model call without `gen_ai.usage.*`")

    def _buckets(self, a: dict[str, Any], claude: bool, beside: bool) -> dict[str, int]:
        for key in a:
            if key not in KNOWN and key.startswith(_PREFIXES) and carries(a[key]) and type(a[key]) is not str:
                self.unknown_keys.append(key[:80])
        given, made, total = _one(a, INPUT), _one(a, OUTPUT), _one(a, TOTAL)
        read, written, reasoning = _one(a, READ), _one(a, WRITE), _one(a, REASONING)
        audio_in, audio_out = _one(a, AUDIO_IN), _one(a, AUDIO_OUT)
        own = given + made
        if self._cache_beside(given, made, total, (read + written, reasoning), claude):
            given += read + written
        if reasoning and (total == given + made + reasoning or (reasoning > made and beside)):
            made += reasoning
        # Where the cache stands beside, some instrumentations sum only input and output.
        if total and total not in (given + made, own):
            raise Fault("contradiction", "the total of tokens isn't the sum of its parts")
        rest_in, rest_out = given - read - written - audio_in, made - reasoning - audio_out
        if rest_in < 0 or rest_out < 0:
            raise Fault("contradiction", "more cached or audio tokens than input, or more reasoning than output",
                        'if the cache stands beside input: [log.constants] cached = "beside"')  # fmt: skip
        return {"input_tok": rest_in, "cache_read_tok": read, "cache_write_5m_tok": written,
                "input_audio_tok": audio_in, "output_tok": rest_out, "reasoning_tok": reasoning,
                "output_audio_tok": audio_out}  # fmt: skip

    def _cache_beside(self, given: int, made: int, total: int, parts: tuple[int, int], claude: bool) -> bool:
        """Whether the cached tokens stand beside the input: as stated, by the total, or because they don't fit in."""
        cached, reasoning = parts
        if not cached or self.reading.constants.get("cached") == "inside":
            return False
        if self.reading.constants.get("cached") == "beside":
            return True
        if total in (given + cached + made, given + cached + made + reasoning):
            return True
        return cached > given and claude


def _one(a: dict[str, Any], names: tuple[str, ...]) -> int:
    """A count under one of several names; the names that hold something must agree."""
    told = {n for n in (count(a, name) for name in names) if n}
    if len(told) > 1:
        raise Fault("contradiction", f"`{names[0]}` under two names differs")
    return told.pop() if told else 0


def _text(value: Any) -> str | None:
    return value[:128] if type(value) is str and value else None


def _start(span: dict[str, Any]) -> Any:
    for key in ("startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime", "timestamp"):
        if span.get(key) is not None:
            return span[key]
    return None


def _spans(record: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every span of a document with its attributes, those of its resource below them."""
    documents = record.get("resourceSpans") or record.get("resource_spans") or record.get("batches")
    if documents is None and "scopeSpans" in record:
        documents = [record]
    if documents is None:
        resource = attributes_of(mapping(record.get("resource")).get("attributes"))
        yield record, {**resource, **attributes_of(record.get("attributes"))}
        return
    for document in documents if type(documents) is list else ():
        document = mapping(document)
        resource = attributes_of(mapping(document.get("resource")).get("attributes"))
        scopes = (document.get("scopeSpans") or document.get("scope_spans")
                  or document.get("instrumentationLibrarySpans"))  # fmt: skip
        for scope in scopes if type(scopes) is list else ():
            spans = mapping(scope).get("spans")
            for span in spans if type(spans) is list else ():
                span = mapping(span)
                yield span, {**resource, **attributes_of(span.get("attributes"))}


_VALUES = ("stringValue", "intValue", "doubleValue", "boolValue", "string_value", "int_value", "double_value")


def attributes_of(given: Any) -> dict[str, Any]:
    """Attributes as a dict of plain values, from OTLP's list of keys and typed values or from a dict."""
    if type(given) is dict:
        return {k: v for k, v in given.items() if type(v) in (str, int, float, bool)}
    plain: dict[str, Any] = {}
    for entry in given if type(given) is list else ():
        entry = mapping(entry)
        key, value = entry.get("key"), mapping(entry.get("value"))
        if type(key) is not str:
            continue
        for kind in _VALUES:
            if kind in value:
                plain[key] = value[kind]
                break
    return plain
