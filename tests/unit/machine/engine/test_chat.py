"""Chat templates: what ordinary ones write, and what hostile ones may not do."""

from __future__ import annotations

import sys
import time
import tracemalloc
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvent.errors import EngineError, ModelFileError, SolventError
from solvent.machine.engine import chat_sandbox
from solvent.machine.engine.chat import MAX_SOURCE_CHARS, ChatTemplate

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe brief.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
USER = {"role": "user", "content": "Hi"}


def rendered(source: str, *messages: dict[str, Any], **names: Any) -> str:
    return ChatTemplate(source, "<s>", "</s>").render(messages or (USER,), **names)


def test_a_conversation_as_chatml() -> None:
    start = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    assert rendered(CHATML) == start + "<|im_start|>assistant\n"
    assert rendered(CHATML, reply=False) == start
    own = rendered(CHATML, {"role": "system", "content": "Sing."}, USER)
    assert own.startswith("<|im_start|>system\nSing.<|im_end|>\n<|im_start|>user")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ bos_token }}{{ messages[0].content | trim }}{{ eos_token }}", "<s>Hi</s>"),
        # Blocks leave no blank lines, as transformers sets it.
        ("{% if true %}\n  {% set a = 1 %}\nx\n{% endif %}\n", "x\n"),
        ("{%- set ns = namespace(n=0) %}{% for i in range(3) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}", "3"),
        ("{% for m in messages %}{% if loop.last %}{% break %}{% endif %}x{% endfor %}", ""),
        ("{% macro f(m) %}[{{ m.role }}]{% endmacro %}{{ f(messages[0]) }}", "[user]"),
        ("{% set a %}b{{ 1 ~ 'c' ~ none }}{% endset %}{{ a }}", "b1cNone"),
        ("{{ {'é': [1, 2.5, None, '<']} | tojson }}", '{"é": [1, 2.5, null, "<"]}'),
        ("{{ [1, 2] | tojson(indent=2) }}", "[\n  1,\n  2\n]"),
        ("{{ 'a,b'.split(',') | join('-') }}{{ 'x'.replace('x', 'y') }}{{ ', '.join(['p', 'q']) }}", "a-byp, q"),
        ("{{ 'a\nb' | indent(2) }}{{ 'a\n\nb' | indent('>', true, true) }}", "a\n  b>a\n>\n>b"),
        ("{{ 'Hi' in messages[0]['content'] }}{{ messages | length }}{{ 'n%d' % 5 }}", "True1n5"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ (1, 2) | join }}", "112"),
        ("{{ messages | map(attribute='role') | join(', ') }}{{ '-' * 5 }}{{ 2 ** 10 }}", "user-----1024"),
        ("{% for k, v in {'a': 1} | dictsort %}{{ k }}{{ v }}{% endfor %}{{ tools is none }}", "a1True"),
        ("{% for k, v in {'a': 1}.items() %}{{ k }}={{ v }}{% endfor %}{{ [1,2,3][::-1] }}", "a=1[3, 2, 1]"),
        ("{% generation %}said{% endgeneration %}", "said"),
        ("{{ undefined_name is defined }}{{ enable_thinking }}", "FalseTrue"),
    ],
)
def test_what_templates_use(source: str, expected: str) -> None:
    assert rendered(source, enable_thinking=True) == expected


def test_today() -> None:
    assert rendered("{{ strftime_now('%Y') }}") == str(datetime.now().year)


def test_a_template_that_refuses_is_quoted() -> None:
    source = "{% if messages[0].role != 'system' %}{{ raise_exception('A system message first') }}{% endif %}"
    with pytest.raises(EngineError, match="chat template: it says 'A system message first'"):
        rendered(source)


GROW = "{%% set ns = namespace(x=%s) %%}{%% for i in range(60) %%}%s{%% endfor %%}{{ ns.x }}"


@pytest.mark.parametrize(
    "source",
    [
        # Loops.
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        # One operation that makes something huge.
        "{{ 'a' * 10 ** 10 }}",
        "{{ [1] * 10 ** 10 }}",
        "{{ 10 ** 10 ** 10 }}",
        "{{ '%01000000000d' % 1 }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ 'a'.ljust(1000000000) }}",
        "{{ 'a'.center(1000000000) }}",
        "{{ 'a' | center(1000000000) }}",
        "{{ '1'.zfill(1000000000) }}",
        "{{ '\t'.expandtabs(1000000000) }}",
        "{{ lipsum(n=100000000) }}",
        "{{ strftime_now('%1000000000d') }}",
        "{{ strftime_now('%d' * 1000) }}",
        "{{ 1.5 | round(1000000000, 'ceil') }}",
        "{{ 1 | round(-1000000000) }}",
        "{{ (1).to_bytes(10000000000, 'big') | length }}",
        "{{ (1).from_bytes }}{{ (1).from_bytes() }}",
        "{{ dict.fromkeys(range(9)) }}",
        # Small values, each made large only when all are kept.
        "{{ (['a' * 99999] * 160) | map('replace', 'a', 'a' * 100) | list | length }}",
        "{{ (['a' * 99999] * 160) | map('replace', 'a', 'a' * 100) | sort | length }}",
        "{{ ([range(99999)] * 99999) | map('list') | list | length }}",
        # Doubling in a loop.
        GROW % ("'abcdefghij'", "{% set ns.x = ns.x ~ ns.x %}"),
        GROW % ("'abcdefghij'", "{% set ns.x = ns.x + ns.x %}"),
        GROW % ("'abcdefghij'", "{% set ns.x = ns.x | replace('a', 'aa') %}"),
        GROW % ("'abcdefghij'", "{% set ns.x = ns.x.replace('a', 'aa') %}"),
        GROW % ("'abcdefghij'", "{% set ns.x = [ns.x, ns.x] | join %}"),
        GROW % ("'abcdefghij'", "{% set ns.x = ns.x.join(['', '', '']) %}"),
        GROW % ("'abcdefghij'", "{% set b %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = b %}"),
        GROW % ("[1]", "{% set ns.x = ns.x + ns.x %}"),
        GROW % ("3", "{% set ns.x = ns.x * ns.x %}"),
        # What is small as long as nobody looks at all of it.
        GROW % ("[1]", "{% set ns.x = [ns.x, ns.x] %}"),
        GROW % ("[1]", "{% set ns.x = (ns.x, ns.x) %}"),
        GROW % ("[1]", "{% set ns.x = {'a': ns.x, 'b': ns.x} %}"),
        GROW % ("[1]", "{% set ns.x = dict(a=ns.x, b=ns.x) %}"),
        GROW % ("[1]", "{% set ns.x = namespace(a=ns.x, b=ns.x) %}"),
        "{% set ns = namespace(x={}, y={}) %}{% for i in range(60) %}{% set ns.x = {'a': ns.x, 'b': ns.x} %}"
        "{% set ns.y = {'a': ns.y, 'b': ns.y} %}{% endfor %}{{ ns.x == ns.y }}",
        # Out of the sandbox.
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{% include '/etc/passwd' %}",
        "{% import 'x' as x %}",
        "{% extends 'x' %}",
        # Nesting.
        "{" * 5000,
        "{{ " + "(" * 3000 + ")" * 3000 + " }}",
        "{% if a %}" * 300 + "{% endif %}" * 300,
        "{% if %}",
        "{{ no_such() }}",
        "{{ 1 // 0 }}",
        "{{ 'a' + 1 }}",
    ],
)
def test_a_hostile_template_is_refused_soon(source: str) -> None:
    start_s = time.perf_counter()
    with pytest.raises(SolventError) as caught:
        rendered(source)
    assert time.perf_counter() - start_s < 2 * chat_sandbox.MAX_SECONDS
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


def test_what_is_refused_was_not_made_first() -> None:
    """Refused before it takes the memory: 16 Mi characters are 16 MiB, and one value more comes on top."""
    for end in ("list", "sort", "max", "join", "unique | list"):
        tracemalloc.start()
        with pytest.raises(EngineError, match="more than 16777216 characters"):
            rendered("{{ (['a' * 9999] * 160) | map('replace', 'a', 'a' * 100) | " + end + " }}")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 40 << 20, (end, peak)


@pytest.mark.parametrize(
    ("source", "expected"),
    [("1.25 | round(1)", "1.2"), ("1.21 | round(1, 'ceil')", "1.3"), ("7.9 | round(0, 'floor')", "7.0"),
     ("2.5 | round", "2.0"), ("17 | round(-1)", "20")],
)  # fmt: skip
def test_rounding(source: str, expected: str) -> None:
    assert rendered("{{ " + source + " }}") == expected


def test_attributes_of_python_are_out_of_reach() -> None:
    for source in (
        "{{ ''.__class__ }}",
        "{{ messages.__len__ }}",
        "{{ ''['__class__'] }}",
        "{{ raise_exception.__globals__ }}",
    ):
        try:
            text = rendered(source)
        except EngineError:
            continue
        assert text == "", source


def test_a_slow_template_runs_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_sandbox, "MAX_SECONDS", 0.05)
    source = "{% for i in range(99999) %}{% for j in range(9) %}{% endfor %}{% endfor %}"
    with pytest.raises(EngineError, match=r"more than 0\.05 s"):
        rendered(source)


def test_a_large_output_is_refused() -> None:
    source = "{% set a = 'x' * 99999 %}{% for i in range(999) %}{{ a }}{% endfor %}"
    with pytest.raises(EngineError, match="puts out more than 16777216 characters"):
        rendered(source)


def test_a_long_conversation_is_not_hostile() -> None:
    long = [{"role": "user", "content": "word " * 2000}, {"role": "assistant", "content": "x" * 5000}] * 60
    assert len(rendered(CHATML, *long)) > 900_000


def test_the_debugger_keeps_its_trace() -> None:
    def trace(frame: Any, event: str, arg: Any) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        rendered(CHATML)
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([], "messages: none"),
        ([{"role": "user"}], r"messages\[0\]: \['role'\]"),
        ([{"content": "x"}], "expected role, a text, and content"),
        (["x"], r"messages\[0\]: a str; expected a mapping with role and content"),
        ({"role": "user", "content": "x"}, "messages: a dict; expected a list"),
    ],
)
def test_a_conversation_that_is_none(messages: Any, said: str) -> None:
    with pytest.raises(EngineError, match=said):
        ChatTemplate(CHATML).render(messages)


def test_the_template_of_a_file() -> None:
    tokens = ["a", "<s>", "</s>"]
    metadata = {
        "tokenizer.chat_template": "{{ bos_token }}{{ eos_token }}",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }
    template = ChatTemplate.from_metadata(metadata)
    assert template is not None and template.render([USER]) == "<s></s>"
    assert ChatTemplate.from_metadata({}) is None
    with pytest.raises(ModelFileError, match="chat_template: list; expected a text"):
        ChatTemplate.from_metadata({"tokenizer.chat_template": ["x"]})
    with pytest.raises(ModelFileError, match="chat_template: Unexpected end"):
        ChatTemplate.from_metadata({"tokenizer.chat_template": "{% if x %}"})
    with pytest.raises(ModelFileError, match=f"at most {MAX_SOURCE_CHARS}"):
        ChatTemplate("x" * (MAX_SOURCE_CHARS + 1))


@given(st.text(st.sampled_from("{}%#-'\"()[]|~+*. abmx01\n"), max_size=60))
def test_any_text_renders_or_is_refused(source: str) -> None:
    with suppress(SolventError):
        rendered(source)
