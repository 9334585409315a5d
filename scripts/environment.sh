#!/usr/bin/env bash
# Builds the virtual environment: scripts/environment.sh base|dev
#
# base is what `rsov predict` needs, dev also what the tests and checks need. A second call with nothing
# changed returns at once. Read from the environment, all optional:
#   VENV                where the environment lies (default .venv)
#   PYTHON              the interpreter to build it with
#   TORCH_INSTALL_ARGS  what pip is given to install torch (docs/install.md)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly what="${1:-base}"
readonly venv="${VENV:-.venv}"
readonly torch_version=2.13.0
readonly py="$venv/bin/python"

say() { printf 'environment: %s\n' "$*" >&2; }
stop() { say "$*"; exit 1; }
pip() { "$py" -m pip --disable-pip-version-check "$@"; }

# What an environment was made from. The path is part of it: one that was moved points to the old folder.
fingerprint() {
    { pwd; printf '%s\n' "${TORCH_INSTALL_ARGS:-}"; cat pyproject.toml constraints/*.txt scripts/environment.sh; } | sha256sum
}

supported() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

find_python() {
    local name
    # 3.11 first: wheels of torch for the CPU that lie on a machine are most often for it
    for name in ${PYTHON:+"$PYTHON"} python3.11 python3.13 python3.12 python3; do
        if supported "$name"; then command -v "$name"; return; fi
    done
    return 1
}

install_debian() {
    if ! command -v apt-get >/dev/null; then stop "$* is needed; install it with this system's package manager"; fi
    if [ "$(id -u)" != 0 ]; then stop "$* is needed; run: sudo apt-get install $*"; fi
    say "installing the Debian packages $*"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

create() {
    if [ -n "${PYTHON:-}" ] && ! supported "$PYTHON"; then stop "PYTHON=$PYTHON is not a Python 3.11, 3.12 or 3.13"; fi
    local python minor
    if ! python=$(find_python); then
        install_debian python3 python3-venv
        python=$(find_python) || stop "no Python 3.11, 3.12 or 3.13 found; name one with PYTHON=/path/to/python"
    fi
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        minor=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        install_debian "python$minor-venv"
    fi
    say "creating $venv with $("$python" --version)"
    "$python" -m venv "$venv"
}

installed() { "$py" -c 'import sys, importlib.metadata as m; print(m.version(sys.argv[1]))' "$1" 2>/dev/null; }

install_torch() {
    local -a args
    if [ -n "${TORCH_INSTALL_ARGS:-}" ]; then
        read -r -a args <<<"$TORCH_INSTALL_ARGS"
    elif installed torch >/dev/null; then
        return
    elif [ "$(uname -s)" != Linux ] || [ -n "$(nvidia-smi -L 2>/dev/null || true)" ]; then
        args=("torch==$torch_version")
    elif pip install -q --dry-run --no-deps "torch==$torch_version+cpu" >/dev/null 2>&1; then
        args=("torch==$torch_version+cpu")
    else
        args=("torch==$torch_version")
        say "no CPU build of torch $torch_version for this Python where pip looks, and no NVIDIA GPU here."
        say "The package index's own build for Linux brings the CUDA libraries: 2.5 GB more to fetch, 5 GB more on disk."
        say "It works. For the small one stop here, then give the CPU wheel index of the torch project or a folder of wheels:"
        say "  make demo TORCH_INSTALL_ARGS='torch==$torch_version --index-url URL'      (docs/install.md)"
    fi
    say "installing torch (${args[*]})"
    pip install -q "${args[@]}"
}

# torch stays as it is, and torchvision fits it: 0.(N + 15) belongs to torch 2.N. Without these lines pip
# may take another build of torch to please torchvision, which open_clip_torch asks for.
constraints() {
    local torch minor
    torch=$(installed torch)
    minor=${torch#2.}
    printf 'torch==%s\ntorchvision==0.%d.*\n' "$torch" $((${minor%%.*} + 15))
}

# The lock holds for one Python and one system; elsewhere pip resolves.
locked() {
    [ "$(uname -sm)" = "Linux x86_64" ] && "$py" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'
}

install_rsov() {
    local extras="" lock=constraints/lock.txt
    if [ "$what" = dev ]; then extras="[dev,train]" lock=constraints/lock-dev.txt; fi
    constraints >"$venv/constraints.txt"
    say "installing rsov$extras (some 90 packages, 400 MB to fetch where none is cached; a minute or two)"
    if locked; then
        pip install -q --require-hashes --no-deps -r "$lock"
        pip install -q --no-deps "$(grep torchvision "$venv/constraints.txt")"
        pip install -q --no-deps -e .
    else
        pip install -q -c "$venv/constraints.txt" -e ".$extras"
    fi
}

works() { "$py" -c 'import fiona, numba, rasterio, torch'; }

main() {
    local now made problem
    now=$(fingerprint)
    # an environment for the tests serves the demo too
    for made in "$venv/.rsov-$what" "$venv/.rsov-dev"; do
        if [ -x "$py" ] && [ "$(cat "$made" 2>/dev/null)" = "$now" ]; then return; fi
    done
    if ! "$py" -m pip --version >/dev/null 2>&1; then create; fi
    install_torch
    install_rsov
    # wheels of fiona bring all libraries but this one, which very small systems lack
    problem=$(works 2>&1) || case "$problem" in *libexpat*) install_debian libexpat1 ;; esac
    works || stop "the environment is broken; delete $venv and try again"
    printf '%s\n' "$now" >"$venv/.rsov-$what"
    say "ready in $SECONDS s: $venv, torch $(installed torch)"
}

case "$what" in base | dev) main ;; *) stop "say base or dev, not $what" ;; esac
