#!/usr/bin/env python3
"""tests/contract/run.py FOLDER: holds what the tests asked the local Fly, and what it answered,
against Fly's OpenAPI document. The suites recorded it: FOLDER/SUITE/FILE_OF_TESTS.jsonl.

The document is not part of this project. DGRUN_OPENAPI names it.
"""

import json
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
DEFAULT_DOCUMENT = PROJECT.parent / "shared" / "fly" / "openapi.json"
# What these send is wrong on purpose.
LEFT_OUT = {"unit/tests_unit_sandbox_bad_input_spec.lua.jsonl"}
# The names of files that must be there, and how many different operations are in them at least:
# about three quarters of what there were when this was written.
LEAST = {"unit/tests_unit_sandbox_*": 34, "unit/tests_unit_fly_*": 21,
         "e2e/tests_e2e_main_job_*": 10, "unit/*": 35, "e2e/*": 21}
# A test may kill the program while it writes a line.
TORN_AT_MOST = 10


def report_skip():
    print("skipped: no OpenAPI document")
    if folder := os.environ.get("DGRUN_RECORDS"):
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        record = {"file": "tests/contract/run.py", "names": ["the local Fly keeps Fly's contract"],
                  "status": "skipped", "seconds": 0,
                  "message": "Fly's OpenAPI document is not here; DGRUN_OPENAPI names it"}
        with (pathlib.Path(folder) / "contract.jsonl").open("a") as file:
            print(json.dumps(record), file=file)


def recorded(folder):
    """{name below the folder: lines}"""
    found = {}
    for path in sorted(folder.glob("*/*.jsonl")):
        name = path.relative_to(folder).as_posix()
        if name not in LEFT_OUT:
            found[name] = path.read_bytes().split(b"\n")
    return found


def main():
    document = pathlib.Path(os.environ.get("DGRUN_OPENAPI") or DEFAULT_DOCUMENT)
    if not document.exists():
        report_skip()
        return 0
    import check

    failures = check.run(document, recorded(pathlib.Path(sys.argv[1])), HERE / "exceptions.txt",
                         least=LEAST, torn_at_most=TORN_AT_MOST)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
