"""Write `constraints/lock.txt` and `lock-dev.txt`: every dependency with version and hashes (`make lock`).

torch and torchvision are left out, because one version has several builds, and so are the CUDA libraries that
only some of these builds bring. uv, which resolves, must be installed beside this interpreter.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "3.11"  # of the Docker image and of CI; other versions resolve to other releases (docs/install.md)
BUILDS = re.compile(r"(torch|torchvision|triton|nvidia-.*|cuda-.*)==")
"""Packages whose version depends on the build of torch."""

TORCH = "torch==2.13.0"
LOCKS = {"lock-dev.txt": ["--extra", "dev", "--extra", "train"], "lock.txt": []}
"""The larger one first: the smaller one keeps its versions."""


def resolve(extras: list[str], constraints: list[str]) -> str:
    """The text of uv's resolution: one block of lines a package."""
    command = [
        *(
            sys.executable,
            "-m",
            "uv",
            "pip",
            "compile",
            "pyproject.toml",
            *extras,
            "--generate-hashes",
            "--only-binary",
            ":all:",
        ),
        *("--python-version", PYTHON, "--python-platform", "x86_64-manylinux_2_28"),
        *("--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links", "--constraint", "-"),
    ]
    done = subprocess.run(
        command, cwd=ROOT, input="\n".join(constraints), text=True, stdout=subprocess.PIPE, check=True
    )
    return done.stdout


def blocks(text: str) -> list[str]:
    """One text a package, without those that belong to a build of torch."""
    found = re.findall(r"^[A-Za-z0-9].*(?:\n +.*)*", text, flags=re.MULTILINE)
    return [block for block in found if not BUILDS.match(block)]


def main() -> None:
    """Write both files."""
    constraints = [TORCH]
    for name, extras in LOCKS.items():
        packages = blocks(resolve(extras, constraints))
        constraints = [TORCH, *(block.split()[0] for block in packages)]
        head = f"# Made by `make lock` for Python {PYTHON} on Linux x86-64; without torch and torchvision.\n"
        path = ROOT / "constraints" / name
        path.write_text(head + "\n".join(packages) + "\n", encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(ROOT)}: {len(packages)} packages\n")


if __name__ == "__main__":
    main()
