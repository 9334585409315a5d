#!/usr/bin/env bash
# Asks the vulnerability service of the package index about what is installed (pip-audit, in an environment of
# its own). Exit 1 where a vulnerability is known. Where nothing could be asked it says SKIPPED and exits 0.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly venv="${VENV:-.venv}"
readonly tool="$venv/audit"
readonly result="$venv/audit.json"

skip() { printf 'audit: SKIPPED: %s\n' "$*"; exit 0; }

if [ ! -x "$tool/bin/pip-audit" ]; then
    "$venv/bin/python" -m venv "$tool"
    "$tool/bin/python" -m pip --disable-pip-version-check install -q pip-audit || skip "pip-audit cannot be installed"
fi
packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
rm -f "$result"
# Exit 1 means both "found something" and "could not ask"; the result file tells them apart
"$tool/bin/python" -m pip_audit --path "$packages" --skip-editable --progress-spinner off --timeout 20 \
    -f json -o "$result" 2>"$result.log" || true
[ -s "$result" ] || skip "the service cannot be reached: $(tail -n 1 "$result.log" | cut -c 1-200)"
"$tool/bin/python" - "$result" <<'PYTHON'
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    packages = json.load(file)["dependencies"]
asked = [package for package in packages if "skip_reason" not in package]
bad = [package for package in asked if package["vulns"]]
for package in bad:
    for hole in package["vulns"]:
        fixed = ", ".join(hole["fix_versions"]) or "none"
        print(f"audit: {package['name']} {package['version']}: {hole['id']}, fixed in: {fixed}")
# torch, torchvision and rsov itself are often unknown to the service; that is no answer for the others
if len(asked) < len(packages) / 2:
    print(f"audit: SKIPPED: the service knew {len(asked)} of {len(packages)} packages")
else:
    print(f"audit: {len(asked)} of {len(packages)} packages asked about, {len(bad)} with known vulnerabilities")
sys.exit(bool(bad))
PYTHON
