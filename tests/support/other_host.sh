#!/bin/sh
# other_host.sh NAME PORT=SOCKET[,…] COMMAND…: runs a command as if on another computer: with a host
# name, processes and a network of its own. Only these ports of its loopback lead anywhere.
set -eu
if [ "$1" != --inside ]; then
    exec unshare --net --uts --pid --fork --mount-proc --kill-child "$0" --inside "$@"
fi
name=$2 ports=$3
shift 3
hostname "$name"
ip link set lo up
exec python3 "$(dirname "$0")/forward.py" tcp "$ports" "$@"
