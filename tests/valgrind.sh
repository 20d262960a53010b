#!/bin/sh
# valgrind.sh DGRUN: the main job, then a deploy of a newer commit that goes back after a failure,
# under valgrind, as is the local Fly that serves them: no bad access, no lost memory.
set -eu
dgrun=$(realpath "$1")
folder=$(mktemp -d)
trap '"$dgrun" -C "$folder" sandbox stop || true; rm -rf "$folder"' EXIT
tests/fixtures/make-project.sh "$folder" >/dev/null

checked() {
    valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,possible \
        --errors-for-leak-kinds=definite --num-callers=30 "$dgrun" -C "$folder" "$@"
}

checked sandbox >/dev/null &
fly=$!
while [ ! -e "$folder/.dgrun/sandbox/address.json" ]; do
    kill -0 "$fly"
    sleep 0.1
done
checked --sandbox prod_deploy --ref v1.1.0
checked --sandbox prod_deploy --ref v1.2.0
checked --sandbox plan prod_deploy --ref main
checked --sandbox status
"$dgrun" -C "$folder" sandbox stop
wait "$fly"
