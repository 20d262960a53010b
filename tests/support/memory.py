"""memory.py NEEDLES COMMAND...: where in the memory of a command these texts stand once it has said
"ready". NEEDLES is a file of JSON, name → text. Prints JSON: name → {"kept": n, "dumped": n}, by
whether a core dump leaves the place out (VmFlags dd, proc(5)). The stack is not looked at: registers
that copied something are spilled there by any call."""

import json
import re
import subprocess
import sys

SKIPPED = ("[stack]", "[vvar]", "[vsyscall]")

needles = {name: text.encode() for name, text in json.load(open(sys.argv[1])).items()}
child = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE)
for line in child.stdout:
    if line == b"ready\n":
        break
found = {name: {"kept": 0, "dumped": 0} for name in needles}
span = None
where = []
with open(f"/proc/{child.pid}/smaps") as smaps:
    for line in smaps:
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)", line)
        if head:
            span = int(head[1], 16), int(head[2], 16), head[3], head[4]
        elif line.startswith("VmFlags:") and "r" in span[2] and span[3] not in SKIPPED:
            where.append((*span, "dd" in line.split()))
with open(f"/proc/{child.pid}/mem", "rb", 0) as memory:
    for start, end, _, name, kept in where:
        try:
            memory.seek(start)
            data = memory.read(end - start)
        except (OSError, OverflowError):
            continue
        for needle, text in needles.items():
            count = data.count(text)
            found[needle]["kept" if kept else "dumped"] += count
            if count and not kept:
                at = data.find(text)
                around = data[max(0, at - 40):at + len(text) + 10]
                print(needle, name, hex(start), around, file=sys.stderr)
child.terminate()
child.wait()
print(json.dumps(found))
