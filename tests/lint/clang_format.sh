#!/bin/sh
# clang_format.sh       fails where a C file is not laid out as .clang-format says
# clang_format.sh -i    lays them out
find host tests/host tests/fuzz \( -name '*.[ch]' -o -name '*.cpp' \) -print0 |
    xargs -0 clang-format ${1:---dry-run -Werror}
