#!/usr/bin/env python3
"""tests/contract/run.py DGRUN: runs the tests that talk to the local Fly, and holds what it was
asked and answered against Fly's OpenAPI document.

The document is not part of this project. DGRUN_OPENAPI names it.
"""

import concurrent.futures
import json
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
                yield f"unit/{folder}/{path.name}"
    # Whole pipelines, by the program itself.
    yield "e2e/main_job_spec.lua"


def run_spec(dgrun, spec, exchanges):
    suite, path = spec.split("/", 1)
    # The suites of these tests report them.
    environment = {**os.environ, "DGRUN_EXCHANGES": str(exchanges)}
    environment.pop("DGRUN_RECORDS", None)
    done = subprocess.run(
        [dgrun, f"tests/run_{suite}.lua", path.replace(".", "%.") + "$"], cwd=PROJECT,
        env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace")
    return done.returncode, done.stdout


def report_skip():
    print("skipped: no OpenAPI document")
    if folder := os.environ.get("DGRUN_RECORDS"):
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        record = {"file": "tests/contract/run.py", "names": ["the local Fly keeps Fly's contract"],
                  "status": "skipped", "seconds": 0,
                  "message": "Fly's OpenAPI document is not here; DGRUN_OPENAPI names it"}
        with (pathlib.Path(folder) / "contract.jsonl").open("a") as file:
            print(json.dumps(record), file=file)


def main():
    document = pathlib.Path(os.environ.get("DGRUN_OPENAPI") or DEFAULT_DOCUMENT)
    if not document.exists():
        report_skip()
        return 0
    import check

    with tempfile.TemporaryDirectory() as folder:
        files = {spec: pathlib.Path(folder) / spec.replace("/", "-") for spec in specs()}
        with concurrent.futures.ThreadPoolExecutor() as pool:
            results = list(pool.map(lambda entry: run_spec(sys.argv[1], *entry), files.items()))
        failed = [output for status, output in results if status != 0]
        if failed:
            print("\n".join(failed))
            return 1
        exchanges = [line for path in files.values() if path.exists()
                     for line in path.read_text(encoding="utf-8").splitlines()]
        return 1 if check.run(document, exchanges, HERE / "exceptions.txt") else 0


if __name__ == "__main__":
    sys.exit(main())
