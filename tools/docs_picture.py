"""Draws the picture of the README: the path to viability in the demo's report, by a headless Chromium.

Without a Chromium (`CHROMIUM` names one) the picture stays as it is. The tests never need it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "assets" / "path.png"
WIDTH_PX, HEIGHT_PX = 1180, 905
# The report's own policy forbids any other style, so the copy that is drawn goes without it.
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
ONLY_THE_PATH = "<style>main > :not(#path), footer { display: none }</style></head>"
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def main() -> None:
    browser = os.environ.get("CHROMIUM") or next((found for name in NAMES if (found := shutil.which(name))), None)
    if browser is None:
        print("docs_picture: no Chromium here, the picture stays as it is", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory(prefix="solvent-picture-") as folder:
        page = path_alone(Path(folder))
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [browser, *QUIET, f"--user-data-dir={folder}/profile", f"--window-size={WIDTH_PX},{HEIGHT_PX}",
             f"--screenshot={PICTURE}", page.as_uri()],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip


def path_alone(folder: Path) -> Path:
    """The demo's report with nothing but its last section."""
    subprocess.run(
        [sys.executable, "-m", "solvent", "demo", "--no-measure", "--out", str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    whole = (folder / "clients-day.html").read_text("utf-8")
    page = folder / "path.html"
    page.write_text(POLICY.sub("", whole).replace("</head>", ONLY_THE_PATH, 1), "utf-8")
    return page


if __name__ == "__main__":
    main()
