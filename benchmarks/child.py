"""One sample: runs one peer once in this process and prints what it took as one line of JSON.

A process a sample, so that peak memory is the peer's own and nothing is warm but the page cache; the clock starts
after the interpreter does and covers the peer's whole job. Started by `measure`.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from pathlib import Path


def main() -> None:
    root = Path(__file__).resolve().parent.parent
    sys.path[:0] = [str(root), str(root / "src")]
    job = json.loads(sys.argv[1])
    peer = importlib.import_module(f"benchmarks.peers.{job['peer']}")
    version = peer.version()
    if version is None:
        print(json.dumps({"absent": True}))
        return
    cpu_s, started = time.process_time(), time.perf_counter()
    outcome = peer.run(job)
    wall_s = time.perf_counter() - started
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    taken = {"wall_s": wall_s, "cpu_s": time.process_time() - cpu_s, "peak_bytes": peak_bytes, "version": version}
    print(json.dumps({**taken, **outcome}))


if __name__ == "__main__":
    main()
