"""Turns the measured serving points of aiconfigurator-core into src/solvent/choose/data/serving-points.csv.zst.

    python tools/serving_points.py AICONFIGURATOR_CORE_WHEEL

Reads systems/silicon_sample.csv from the wheel (`pip download --no-deps aiconfigurator-core==0.12.0`, Apache-2.0),
keeps every row, and puts the layouts that its several sources write in different ways into one: GPUs, whether
attention is replicated over them (data parallel), and over how many the experts are spread. What the source leaves
out, but the launch scripts of its benchmark state (SemiAnalysisAI/InferenceX, Apache-2.0, benchmarks/ and configs as
of each row's day), is added: `held_steps`, `speculative`. Nothing is set or corrected by its measured value. The
rules stand in `layout`, `held_steps`, `speculative` and in docs/reference/predictions.md.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import sys
import zipfile
from pathlib import Path

import zstandard

TARGET = Path(__file__).resolve().parents[1] / "src/solvent/choose/data/serving-points.csv.zst"
MEMBER = "aiconfigurator_core/systems/silicon_sample.csv"
BLACKWELL = ("b200_sxm", "b300_sxm")
COLUMNS = [
    "id",
    "date",
    "source",
    "backend",
    "release",
    "model",
    "system",
    "format",
    "mode",
    "isl_tok",
    "osl_tok",
    "concurrency",
    "n_gpus",
    "replicated_attention",
    "expert_gpus",
    "prefill_gpus",
    "decode_gpus",
    "held_steps",
    "speculative",
    "ttft_s",
    "tpot_s",
]


def layout(tp: int, dp: int, moe_tp: int, moe_ep: int, plain: bool) -> tuple[int, int, int]:
    """GPUs of one replica, whether attention is replicated over them (0 or 1), GPUs the experts are spread over.

    Two of the sources write one layout of k GPUs in four ways, which the ids of rows listed twice tell apart:
    (k, k, 1, k²), (1, k², k, k) and (1, k, 1, k) are replicated attention; (k², 1, k, k) is split attention with
    spread experts. plain: a source that writes what it means. Anything else is what it says, and covers whichever
    is larger, attention's GPUs or the experts'.
    """
    if plain:
        return max(tp * dp, moe_tp * moe_ep), int(dp > 1), moe_ep
    if tp > 1 and dp > 1:
        return tp, 1, tp
    if tp == 1 and dp > 1:
        if moe_ep > 1 and dp == moe_tp * moe_ep and moe_tp == moe_ep:
            return moe_ep, 1, moe_ep
        return max(dp, moe_tp * moe_ep), 1, moe_ep
    if moe_tp > 1 and moe_tp == moe_ep and tp == moe_tp * moe_ep:
        return moe_ep, 0, moe_ep
    return max(tp, moe_tp * moe_ep), 0, moe_ep


def side(row: dict[str, str], prefix: str) -> tuple[int, int, int]:
    names = ("tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
    tp, dp, moe_tp, moe_ep = (max(1, int(row[prefix + name] or 1)) for name in names)
    # Ids of the sources that write plainly end in "…_epnone_7".
    return layout(tp, dp, moe_tp, moe_ep, plain="_epnone_" in row["id"])


def canonical(row: dict[str, str]) -> dict[str, str]:
    told = row["silicon_data_source"]
    stated = re.search(r"silicon_concurrency=(\d+)", told)
    date = re.search(r"measured=(\d{4}-\d\d-\d\d)", told)
    point = {
        "id": row["id"],
        "date": date[1] if date else "",
        "source": told.split(";")[0].rsplit("/", 1)[-1].removeprefix("source_file="),
        "backend": row["backend"],
        "release": row["backend_version"],
        "model": row["model_path"],
        "system": row["system"],
        # No precision stated: the weights as published, which for those models is bf16.
        "format": row["precision"] or "bf16",
        "mode": row["mode"],
        "isl_tok": row["isl"],
        "osl_tok": row["osl"],
        "ttft_s": f"{float(row['silicon_ttft_ms']) / 1e3:.7g}",
        "tpot_s": f"{float(row['silicon_tpot_ms']) / 1e3:.7g}",
    }
    if row["mode"] == "agg":
        n_gpus, replicated, expert_gpus = side(row, "")
        # Rows that state no concurrency give the batch of one GPU, as their neighbours in the same files do.
        concurrency = int(stated[1]) if stated else int(row["batch_size"]) * n_gpus
        # A concurrency over several replicas of the layout: what reaches one of them.
        if "_epnone_" in row["id"]:
            concurrency = min(concurrency, int(row["batch_size"]) * n_gpus)
        prefill = decode = 0
    else:
        sides = [(side(row, prefix), int(row[f"{prefix}num_workers"] or 1)) for prefix in ("prefill_", "decode_")]
        prefill, decode = (shape[0] * workers for shape, workers in sides)
        n_gpus, replicated, expert_gpus = prefill + decode, sides[1][0][1], sides[1][0][2]
        concurrency = int(stated[1]) if stated else int(row["decode_batch_size"] or 1) * decode
    point |= {
        "concurrency": str(concurrency),
        "n_gpus": str(n_gpus),
        "replicated_attention": str(replicated),
        "expert_gpus": str(expert_gpus),
        "prefill_gpus": str(prefill),
        "decode_gpus": str(decode),
    }
    return point


def held_steps(point: dict[str, str]) -> int:
    """Decoding steps that the launch script lets a request wait before its prompt is read; 0 where it says nothing.

    SGLang on B200 and B300: --scheduler-recv-interval, 30 from 16 requests on, else 10 (dsr1_*, qwen3.5_*); always 10
    for GLM-5 in fp4, Qwen3.5 in fp8 on B300 and DeepSeek in fp8 on four GPUs. TensorRT-LLM, 1024 in and out:
    batch_wait_timeout_iters, 20 for Llama 70B on fewer than eight GPUs (70b_*_trt), 40 for DeepSeek in fp8 on B200
    from 64 requests on, since 2026-01-29 (dsr1_fp8_b200_trt.sh)."""
    if point["mode"] != "agg" or not point["date"]:
        return 0
    model, system, form = point["model"].lower(), point["system"], point["format"]
    n_gpus, concurrency = int(point["n_gpus"]), int(point["concurrency"])
    if point["backend"] == "sglang" and system in BLACKWELL:
        if "glm-5" in model:
            return 10 if form == "fp4" else 0
        always = ("qwen3.5" in model and form == "fp8" and system == "b300_sxm") or (
            "deepseek" in model and form == "fp8" and n_gpus == 4
        )
        return 10 if always or concurrency < 16 else 30
    if point["backend"] == "trtllm" and (point["isl_tok"], point["osl_tok"]) == ("1024", "1024"):
        if "llama" in model and "70b" in model and n_gpus < 8:
            return 20
        if "deepseek" in model and form == "fp8" and system == "b200_sxm" and concurrency >= 64:
            return 40 if point["date"] >= "2026-01-29" else 0
    return 0


def speculative(point: dict[str, str]) -> bool:
    """Whether only a script that drafts tokens was run with this image, layout and day; where one without was too, no.

    TensorRT-LLM: dsr1-*-trt-mtp came on 2026-01-14 and took image 1.2.0rc6.post3 in February, the others didn't.
    SGLang 0.5.9: qwen3.5-fp8-b200-sglang-mtp is the layout of four GPUs with every expert cut over all."""
    if point["mode"] != "agg":
        return False
    if point["backend"] == "trtllm" and "deepseek" in point["model"].lower():
        return point["date"] == "2026-01-14" or point["release"] == "1.2.0rc6.post3"
    qwen = point["backend"] == "sglang" and "qwen3.5" in point["model"].lower() and point["format"] == "fp8"
    layout_of_mtp = (point["n_gpus"], point["expert_gpus"], point["replicated_attention"]) == ("4", "1", "0")
    return qwen and point["release"] == "0.5.9" and point["system"] in BLACKWELL and layout_of_mtp


def twin(point: dict[str, str]) -> tuple[float | str, ...]:
    """What rows share that list one measurement: times to 10 µs, as the coarsest source states them, and the load."""
    return (
        round(float(point["ttft_s"]), 5),
        round(float(point["tpot_s"]), 5),
        point["isl_tok"],
        point["osl_tok"],
    )


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("usage: python tools/serving_points.py AICONFIGURATOR_CORE_WHEEL")
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        text = wheel.read(MEMBER)
    rows = list(csv.DictReader(io.StringIO(text.decode("utf-8"))))
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    points = [canonical(row) for row in rows]
    # A row that states no day takes it from a row that lists the same measurement.
    days = {twin(p): p["date"] for p in points if p["date"]}
    dated = [p | {"date": p["date"] or days.get(twin(p), "")} for p in points]
    writer.writerows(p | {"held_steps": held_steps(p), "speculative": int(speculative(p))} for p in dated)
    TARGET.write_bytes(zstandard.ZstdCompressor(level=19).compress(out.getvalue().encode()))
    print(f"{len(rows)} points; sha256 of {MEMBER}: {hashlib.sha256(text).hexdigest()}")
    print(f"wrote {TARGET} ({TARGET.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
