"""Writes the commented solvent.toml that `init` leaves behind: what the log said, and blanks for the rest.

The text is valid TOML as it stands, whatever the log's columns and customers are called. Enter at `project_text`.
"""

from __future__ import annotations

import json

from solvent.money.audit.survey import Survey
from solvent.money.usage.columns import TARGETS
from solvent.money.usage.intake import DAYLESS

MAX_NAMES = 20


def quoted(text: str) -> str:
    """The text as a TOML basic string."""
    return json.dumps(text, ensure_ascii=True).replace("\x7f", "\\u007F")


def comment(text: str) -> str:
    """The text as it may stand in a comment: one line, no control characters."""
    return "".join(c if c.isprintable() else "?" for c in text)[:300]


def project_text(survey: Survey) -> str:
    """solvent.toml for this log: gaps first, then every section with what is known filled in."""
    lines = [
        "# solvent.toml: what solvent knows about your product. Fill in the blanks, then: solvent audit LOG",
        'schema = "solvent.project/1"',
        "",
    ]
    if survey.gaps:
        lines.append("# What the log doesn't say yet:")
        lines += [f"#   {gap.n:,} × {comment(gap.what)}  →  {comment(gap.fix)}" for gap in survey.gaps]
        lines.append("")
    lines += ["[product]", '# name = "…"', '# output = "reply"        # what a customer gets and you count', ""]
    lines += _log(survey)
    lines += [
        "[output]",
        "# One request is one output unless you say otherwise (one of these):",
        '# by = "conversation_id"     # requests that share it are one output',
        "# gap_minutes = 30           # a customer's requests this close together are one output",
        "# requests_per_output = 3    # a ratio you know",
        "",
    ]
    lines += _prices(survey)
    lines += _revenue(survey)
    lines += [
        "[costs]",
        "# payment_fee_share = 0.029",
        "# payment_fee_usd_per_charge = 0.30",
        "# refund_share = 0.01",
        "# other_usd_per_customer_month = 0",
        "",
        "[policy]",
        "# The line between solvent and insolvent: compute per dollar of customer value.",
        "max_compute_per_value = 0.10",
        "",
    ]
    return "\n".join(lines)


def _log(survey: Survey) -> list[str]:
    intake = survey.intake
    lines = ["[log]", f"format = {quoted(intake.format)}"]
    missing = ": which is it?" if survey.zone_missing else ""
    lines.append(f'# zone = "UTC"            # of times without one{missing}')
    lines += [
        "# start = 2026-01-01         # the span that the log covers, if its first and last request don't say it",
        "# end = 2026-02-01",
    ]
    if intake.map is not None:
        lines += ["", '[log.columns]             # ours = "yours", as guessed: check them']
        unclear = {"prompt_tok"} if any(group.kind == "ambiguous" for group in intake.problems) else set()
        for target, source in intake.map.columns.items():
            if target in unclear:
                lines.append(f"# prompt_tok = {quoted(source)}  # if cached tokens are inside, as OpenAI counts; else")
                lines.append(f"# input_tok = {quoted(source)}   # if they stand beside, as Anthropic counts")
            elif target in TARGETS:
                lines.append(f"{target} = {quoted(source)}")
        unused = [*intake.map.not_understood, *intake.map.ignored]
        if unused:
            lines.append("# not used: " + comment(", ".join(unused)))
    lines += ["", "[log.constants]           # what is the same for every request and stands in no column"]
    if any(gap.what in DAYLESS for gap in survey.timeless):
        lines.append('# at = "2026-01-05T00:00:00Z"  # when it started')
    if any(model is None for _, model, _, _ in survey.models):
        lines += ['# provider = "openai"', '# model = "…"']
    if not survey.n_customers:
        lines.append('# customer = "…"')
    return [*lines, ""]


def _prices(survey: Survey) -> list[str]:
    lines = ["[prices]", '# aliases = { "my-deployment" = "openai/gpt-5" }', ""]
    unpriced = [(p, m, n) for p, m, n, source in survey.models if source is None and m is not None]
    for provider, model, n in unpriced[:MAX_NAMES]:
        lines += [
            f"# [[rates]]                # {n:,} requests have no price yet",
            f"# provider = {comment(quoted(provider or '…'))}",
            f"# model = {comment(quoted(model))}",
            "# input_usd_per_mtok = 0.00",
            "# output_usd_per_mtok = 0.00",
            '# source = "…"',
            "",
        ]
    return lines


def _revenue(survey: Survey) -> list[str]:
    lines = ["[revenue]", '# customers = "customers.csv" # customer,plan: one line each', '# default_plan = "pro"']
    if survey.customers:
        lines.append(f"# {survey.n_customers:,} customers; the busiest: " + comment(", ".join(survey.customers[:8])))
    lines += ["", "# [revenue.plans.pro]", "# usd_per_month = 20", ""]
    return lines
