#!/bin/sh
# Fails where a C file is not laid out as .clang-format says.
find host tests/host \( -name '*.[ch]' -o -name '*.cpp' \) -print0 |
    xargs -0 clang-format --dry-run -Werror
