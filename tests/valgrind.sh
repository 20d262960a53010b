#!/bin/sh
# valgrind.sh DGRUN: the main job, then a deploy of a newer commit that goes back after a failure,
# under valgrind: no bad access, no lost memory.
set -eu
dgrun=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
tests/fixtures/make-project.sh "$folder" >/dev/null

checked() {
    valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,possible \
        --errors-for-leak-kinds=definite --num-callers=30 "$dgrun" -C "$folder" --sandbox "$@"
}

checked prod_deploy --ref v1.1.0
checked prod_deploy --ref v1.2.0
checked plan prod_deploy --ref main
checked status
