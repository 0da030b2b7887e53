"""Draws the picture of the README: the verdict of the demo's report, by a headless Chromium.

Without a Chromium (`CHROMIUM` names one) the picture stays as it is. The tests never need it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "assets" / "report.png"
EXAMPLE = ROOT / "examples" / "clients-day"
WIDTH_PX, HEIGHT_PX = 1180, 850
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
        report = Path(folder) / "report.html"
        audit(report)
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [browser, *QUIET, f"--user-data-dir={folder}/profile", f"--window-size={WIDTH_PX},{HEIGHT_PX}",
             f"--screenshot={PICTURE}", report.as_uri()],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip


def audit(report: Path) -> None:
    """Writes the report of the example product."""
    subprocess.run(
        [sys.executable, "-m", "solvent", "audit", str(EXAMPLE / "requests.parquet"),
         "--project", str(EXAMPLE / "solvent.toml"), "--out", str(report)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, check=True, capture_output=True, timeout=120,
    )  # fmt: skip


if __name__ == "__main__":
    main()
