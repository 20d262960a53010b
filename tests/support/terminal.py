"""terminal.py STEPS COMMAND...: runs a command in a terminal of its own and plays a person.

STEPS is a JSON list: {"wait": TEXT} until the terminal shows it, {"type": TEXT}, {"paste": TEXT}
(all at once), {"signal": N} to the command, {"silent": true} until nothing typed is shown,
{"poll": FILE} until the file exists. Prints JSON: the exit status (128 + n for signal n), all that
the terminal showed, whether it showed typed text when each step began, and whether it does now.
"""
import fcntl
import json
import os
import pty
import select
import signal
import sys
import termios
import time

LONGEST = 60


def settings(fd):
    return termios.tcgetattr(fd)


def shows(fd):
    flags = settings(fd)[3]
    return bool(flags & termios.ECHO) and bool(flags & termios.ICANON)


def main():
    steps, command = json.loads(sys.argv[1]), sys.argv[2:]
    master, slave = pty.openpty()
    before = settings(slave)
    child = os.fork()
    if child == 0:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for fd in range(3):
            os.dup2(slave, fd)
        os.closerange(3, 256)
        os.execvp(command[0], command)
    seen, at, status, during = b"", 0, None, []
    end = time.monotonic() + LONGEST

    def more(seconds):
        nonlocal seen
        if select.select([master], [], [], seconds)[0]:
            seen += os.read(master, 65536)
            return True
        return False

    def until(condition):
        while not condition():
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
                print(json.dumps({"stuck": seen.decode(errors="replace")}))
                sys.exit(1)
            more(0.01)

    for step in steps:
        during.append(shows(slave))
        if "wait" in step:
            wanted = step["wait"].encode()
            until(lambda: seen.find(wanted, at) >= 0)
            at = seen.find(wanted, at) + len(wanted)
        elif "silent" in step:
            until(lambda: not shows(slave))
        elif "poll" in step:
            until(lambda: os.path.exists(step["poll"]))
        elif "signal" in step:
            os.kill(child, step["signal"])
        else:
            os.write(master, (step.get("type") or step["paste"]).encode())

    def ended():
        nonlocal status
        pid, code = os.waitpid(child, os.WNOHANG)
        if pid:
            status = code
        return status is not None

    until(ended)
    while more(0):
        pass
    # What is left to read is what the shell would take as its next line.
    fcntl.fcntl(slave, fcntl.F_SETFL, os.O_NONBLOCK)
    try:
        left = os.read(slave, 65536)
    except BlockingIOError:
        left = b""
    print(json.dumps({
        "status": os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status),
        "output": seen.decode(errors="replace"), "during": during, "shows": shows(slave),
        "restored": settings(slave) == before, "left": left.decode(errors="replace"),
    }))


main()
