"""How soon rsov answers: help, and the first progress of a run that has to start the text encoder.

    python -m benchmarks.start PICTURE

The rival is what every tool on torch pays first: `python -c "import torch"`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROUNDS = 5
PROMPTS = "fen,boardwalk,quarry pond,orchard meadow"
"""No text of these has a shipped vector."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("picture", type=Path, metavar="PICTURE", help="any ortho")
    picture = parser.parse_args().picture
    torch = median(seconds([sys.executable, "-c", "import torch"]) for _ in range(ROUNDS))
    help_ = median(seconds([sys.executable, "-m", "rsov", "--help"]) for _ in range(ROUNDS))
    first = median(first_progress(picture) for _ in range(ROUNDS))
    print(f"import torch            {torch:.2f} s")
    print(f"rsov --help             {help_:.2f} s, {help_ / torch:.2f} x import torch")
    print(f"rsov predict, first tile {first:.2f} s, {first / torch:.2f} x import torch")


def seconds(command: list[str]) -> float:
    """Wall time of a process."""
    since = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - since


def first_progress(picture: Path) -> float:
    """From the call to the first tile that is told of; nothing is cached before."""
    with tempfile.TemporaryDirectory() as folder:
        code = "from benchmarks.start import watched; watched()"
        environment = {**os.environ, "RSOV_CACHE_DIR": f"{folder}/cache"}
        command = [sys.executable, "-c", code, str(picture), f"{folder}/out/"]
        since = time.perf_counter()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - since


def watched() -> None:
    """Child: the job of `rsov predict`, which ends at the first step."""
    from rsov.jobs.predict import predict
    from rsov.jobs.predict_progress import Silent, Step

    class First(Silent):
        def step(self, step: Step) -> None:
            if step.tiles:
                os._exit(0)

    Path(sys.argv[2]).mkdir()
    predict(sys.argv[1], PROMPTS, out=sys.argv[2], watcher=First())
    raise RuntimeError("no step was told of")


if __name__ == "__main__":
    main()
