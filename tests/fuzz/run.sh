#!/bin/sh
# run.sh BUILD SECONDS: all fuzz targets of a sanitizer build, one after the other, each for this time.
# With clang and its runtime (CC=clang, Debian's libclang-rt-dev) they are libFuzzer's; else
# driver.c mutates the seeds, without coverage.
set -e
[ $# -eq 2 ] || { echo "usage: tests/fuzz/run.sh BUILD SECONDS" >&2; exit 2; }
seeds=$(dirname "$0")/corpus
for target in "$1"/tests/fuzz_*; do
    [ -x "$target" ] || { echo "tests/fuzz: $1 has no fuzz targets; build the preset asan" >&2; exit 2; }
    found=$1/tests/corpus/${target##*/fuzz_}
    mkdir -p "$found"
    "$target" "-max_total_time=$2" "$found" "$seeds/${target##*/fuzz_}"
done
