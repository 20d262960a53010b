#!/bin/sh
# clang_tidy.sh BUILD: clang-tidy over the host's C files, as many at a time as there are processors.
find host -name '*.c' -print0 | xargs -0 -n 4 -P "$(nproc)" clang-tidy --quiet -p "$1"
