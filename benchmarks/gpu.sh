#!/usr/bin/env bash
# What can be checked on an NVIDIA GPU alone, in at most nine minutes.
#
#   bash benchmarks/gpu.sh [--results FILE] [--wheels DIR] [--dry-run]
#
# Runs the tests that need a GPU; 50 steps of every method under PyTorch's sync debug mode (waits.py); counts the
# kernels of a step (kernels.py); and races the tutorial, ours and the bare loop in float32, TF32 and bfloat16
# (speed.py). Images are noise of MNIST's size, so no data is needed. Each part has a time limit and runs whatever became
# of those before it. Results are kept as they come in benchmarks/results-gpu.json, or in FILE; the exit code is 1 if a
# part failed.
#
# PYTHON names the interpreter, python3 if unset. If its environment lacks packages and the machine has no network, make
# wheels elsewhere, in the repository's folder, and bring them along:
#
#   python3 -m pip wheel --no-deps --wheel-dir wheels . \
#     'hydra-core>=1.4.0rc3,<1.5' 'hydra-joblib-launcher>=1.4.0rc3,<1.5' 'omegaconf>=2.4.1rc1,<2.5'
#
# COMMIT names the commit in the results where the folder is a copy without .git.
#
# --dry-run needs no GPU: it runs everything on the CPU, in a few steps, prints the results and keeps none.
set -euo pipefail
python=${PYTHON:-python3} wheels='' dry='' results=benchmarks/results-gpu.json failed=()
while [ $# -gt 0 ]; do
    case $1 in
        --results) results=$(realpath -m "$2"); shift 2 ;;
        --wheels) wheels=$(realpath "$2"); shift 2 ;;
        --dry-run) dry=yes; shift ;;
        *) sed -n '2,/^set/{/^#/s/^# \?//p}' "$0"; exit 2 ;;
    esac
done
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PYTHONPATH=$PWD/src${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
if [ -n "$wheels" ]; then
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$scratch/site" "$wheels"/*.whl
    PYTHONPATH+=:$scratch/site
fi

"$python" - <<'END'
"""Say what this environment lacks."""
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version

from packaging.requirements import Requirement

with open("pyproject.toml", "rb") as file:
    needed = ["gan-augment", *tomllib.load(file)["project"]["dependencies"], "pytest", "hypothesis"]
lacking = []
for need in map(Requirement, needed):
    try:
        if not need.specifier.contains(there := version(need.name), prereleases=True):
            print(f"{need} is needed, but {there} is there: trying it all the same")
    except PackageNotFoundError:
        lacking.append(str(need))
if lacking:
    sys.exit(f"this environment lacks {', '.join(lacking)}: bring wheels, as the head of benchmarks/gpu.sh says")
END

# Run a part: its name, the seconds it may take, the command.
part() {
    echo
    echo "== $1, at most $2 s"
    timeout --kill-after=5 "$2" "${@:3}" || failed+=("$1")
}

if [ -n "$dry" ]; then
    accelerator=cpu results=$scratch/results.json few=(--rounds 1 --seconds 0.1 --only mlp)
    echo "This dry run leaves out: the tests, which are skipped; the sync debug mode; kernels, in whose place operations"
    echo "are counted; and the races of DCGAN and classifier, whose loops run where kernels are counted."
else
    accelerator=gpu few=()
    "$python" -c 'import sys, torch; torch.cuda.is_available() or sys.exit("no NVIDIA GPU here: there is --dry-run")'
fi
kept=(--accelerator "$accelerator" --results "$results")
part tests 100 "$python" -m pytest -q -m gpu -W default -p no:cacheprovider tests
part waits 150 "$python" benchmarks/waits.py "${kept[@]}" ${dry:+--steps 5}
part kernels 80 "$python" benchmarks/kernels.py "${kept[@]}" ${dry:+--steps 2}
part speed 190 "$python" benchmarks/speed.py "${kept[@]}" --quick --precisions --noise "${few[@]}"

echo
[ -z "$dry" ] || cat "$results"
echo "$SECONDS s; failed: ${failed[*]:-none}"
[ ${#failed[@]} = 0 ]
