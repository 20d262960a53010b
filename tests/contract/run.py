#!/usr/bin/env python3
"""tests/contract/run.py DGRUN: runs the tests that talk to the local Fly, and holds what it was
asked and answered against Fly's OpenAPI document.

The document is not part of this project. DGRUN_OPENAPI names it.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
DEFAULT_DOCUMENT = PROJECT.parent / "shared" / "fly" / "openapi.json"
# What these send is wrong on purpose.
LEFT_OUT = {"bad_input_spec.lua"}


def specs():
    for folder in ("sandbox", "fly"):
        for path in sorted((PROJECT / "tests" / "unit" / folder).glob("*_spec.lua")):
            if path.name not in LEFT_OUT:
                yield f"{folder}/{path.name}"


def main():
    document = pathlib.Path(os.environ.get("DGRUN_OPENAPI") or DEFAULT_DOCUMENT)
    if not document.exists():
        print("skipped: no OpenAPI document")
        return 0
    import check

    with tempfile.TemporaryDirectory() as folder:
        exchanges = pathlib.Path(folder) / "exchanges.jsonl"
        exchanges.touch()
        environment = {**os.environ, "DGRUN_EXCHANGES": str(exchanges)}
        for spec in specs():
            pattern = spec.replace(".", "%.") + "$"
            done = subprocess.run([sys.argv[1], "tests/run_unit.lua", pattern], cwd=PROJECT,
                                  env=environment, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True)
            if done.returncode != 0 and "0 failed" not in done.stdout:
                print(done.stdout)
                return 1
        return 1 if check.run(document, exchanges, HERE / "exceptions.txt") else 0


if __name__ == "__main__":
    sys.exit(main())
