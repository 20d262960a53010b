"""Holds exchanges of the local Fly against Fly's OpenAPI document.

An exchange is a line of JSON: method, path, query, nonce, request, status, response. A request is
held against the document when it was accepted, an answer always.
"""

import fnmatch
import json
import re

import jsonschema

LEASE_HEADER = "fly-machine-lease-nonce"
ERROR_SCHEMA = {"$ref": "#/components/schemas/ErrorResponse"}


def to_json_schema(schema):
    """The schema without what OpenAPI 3.0 says in its own way."""
    if isinstance(schema, list):
        return [to_json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: to_json_schema(value) for name, value in schema.items() if name != "nullable"}
    if schema.get("nullable") is True and isinstance(schema.get("type"), str):
        plain["type"] = [schema["type"], "null"]
        if "enum" in plain:
            plain["enum"] = plain["enum"] + [None]
    return plain


def make_validator(schemas):
    """jsonschema's own search for what a reference names goes through all of the document."""
    def reference(validator, name, instance, _):
        yield from validator.descend(instance, schemas[name.rsplit("/", 1)[1]])
    kind = jsonschema.validators.extend(jsonschema.Draft7Validator, {"$ref": reference})
    return kind({})


def template_pattern(template):
    parts = re.split(r"\{[^}]+\}", template)
    return re.compile("^" + "([^/]+)".join(re.escape(part) for part in parts) + "$")


class Contract:
    def __init__(self, document):
        self.schemas = to_json_schema(document["components"]["schemas"])
        self.validator = make_validator(self.schemas)
        # Addresses with fewer variables come first: the more special one is meant.
        self.paths = sorted(
            ((template_pattern(template), template, operations)
             for template, operations in document["paths"].items()),
            key=lambda entry: entry[1].count("{"))
        self.findings = {}
        self.checked = 0

    def report(self, where, text, exchange):
        self.findings.setdefault(f"{where}: {text}", exchange)

    def operation(self, exchange):
        for pattern, template, operations in self.paths:
            if pattern.match(exchange["path"]):
                operation = operations.get(exchange["method"].lower())
                if operation:
                    shared = operations.get("parameters", [])
                    return template, operation, shared + operation.get("parameters", [])
        return None, None, None

    def resolve(self, schema):
        while "$ref" in schema:
            schema = self.schemas[schema["$ref"].rsplit("/", 1)[1]]
        return schema

    def properties(self, schema):
        """Names that an object may have with their schemas; None where all names are allowed."""
        schema = self.resolve(schema)
        found = dict(schema.get("properties", {}))
        if isinstance(schema.get("additionalProperties"), (dict, bool)):
            return None
        for part in schema.get("allOf", []) + schema.get("oneOf", []) + schema.get("anyOf", []):
            inner = self.properties(part)
            if inner is None:
                return None
            found.update(inner)
        return found or None

    def unknown_names(self, value, schema, at):
        schema = self.resolve(schema)
        if isinstance(value, list):
            for item in value:
                yield from self.unknown_names(item, schema.get("items", {}), at + ".*")
        elif isinstance(value, dict):
            known = self.properties(schema)
            extra = schema.get("additionalProperties")
            for name, item in value.items():
                if known and name in known:
                    yield from self.unknown_names(item, known[name], f"{at}.{name}")
                elif known:
                    yield f"{at}.{name} is not in the document"
                elif isinstance(extra, dict):
                    yield from self.unknown_names(item, extra, at + ".*")

    def body(self, where, name, value, schema, exchange):
        for problem in self.validator.evolve(schema=schema).iter_errors(value):
            at = "".join(f".{'*' if isinstance(part, int) else part}" for part in problem.path)
            reason = problem.message if len(problem.message) < 200 else problem.validator
            self.report(where, f"{name}{at}: {reason}", exchange)
        for text in self.unknown_names(value, schema, name):
            self.report(where, text, exchange)

    def query(self, where, exchange, parameters):
        known = {p["name"]: p for p in parameters if p["in"] == "query"}
        for name, value in (exchange.get("query") or {}).items():
            if name not in known:
                self.report(where, f"query {name} is not in the document", exchange)
                continue
            schema = to_json_schema(known[name]["schema"])
            kind = self.resolve(schema).get("type")
            for text in value if isinstance(value, list) else [value]:
                if kind == "integer" and re.fullmatch(r"-?\d+", text):
                    text = int(text)
                elif kind == "boolean" and text in ("true", "false"):
                    text = text == "true"
                self.body(where, f"query {name}", text, schema, exchange)
        for parameter in parameters:
            name, place = parameter["name"], parameter["in"]
            given = (name in (exchange.get("query") or {}) if place == "query"
                     else exchange.get("nonce") if name.lower() == LEASE_HEADER else True)
            if parameter.get("required") and not given:
                self.report(where, f"{place} {name} is missing", exchange)

    def request(self, where, exchange, operation, parameters):
        self.query(where, exchange, parameters)
        wanted = operation.get("requestBody")
        body = exchange.get("request")
        if body is None:
            if wanted and wanted.get("required"):
                self.report(where, "request is missing", exchange)
        elif not wanted:
            self.report(where, "request is not in the document", exchange)
        else:
            schema = next(iter(wanted["content"].values())).get("schema", {})
            self.body(where, "request", body, to_json_schema(schema), exchange)

    def answer(self, where, exchange, operation):
        status = str(exchange["status"])
        response = operation["responses"].get(status)
        body = exchange.get("response")
        if response is None:
            self.report(where, f"status {status} is not in the document", exchange)
            schema = ERROR_SCHEMA if exchange["status"] >= 400 else None
        else:
            content = response.get("content", {})
            schema = content.get("application/json", {}).get("schema")
        if schema is not None and body is None:
            self.report(where, f"{status} has no response", exchange)
        elif schema is not None:
            self.body(where, f"{status} response", body, to_json_schema(schema), exchange)

    def check(self, exchange):
        """The name of the operation; None where the document does not know the address."""
        template, operation, parameters = self.operation(exchange)
        if not operation:
            return None
        where = f"{exchange['method']} {template}"
        if exchange["status"] < 400:
            self.request(where, exchange, operation, parameters)
        self.answer(where, exchange, operation)
        self.checked += 1
        return where


def read_exceptions(path):
    """{pattern of findings: reason}: a line, and an indented one below it."""
    found, pattern = {}, None
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            if line[0].isspace():
                found[pattern] = f"{found[pattern]} {text}".strip()
            else:
                pattern = text
                found[pattern] = ""
    for pattern, reason in found.items():
        if not reason:
            raise SystemExit(f"{path}: {pattern!r} has no reason")
    return found


def check_all(contract, recorded):
    """{file: its operations}, the number of exchanges with other addresses, of torn lines. Who
    waits asks the same again and again: a line like an earlier one of its file is passed over."""
    operations, unknown, torn = {}, 0, 0
    for name, lines in recorded.items():
        operations[name] = set()
        for line in filter(None, dict.fromkeys(lines)):
            try:
                exchange = json.loads(line)
            except ValueError:
                torn += 1
                continue
            if operation := contract.check(exchange):
                operations[name].add(operation)
            else:
                unknown += 1
    return operations, unknown, torn


def too_few(operations, least):
    for pattern, wanted in least.items():
        found = set().union(*(operations[name] for name in fnmatch.filter(operations, pattern)))
        if len(found) < wanted:
            yield (f"too little was recorded: {len(found)} different operations in {pattern}, "
                   f"at least {wanted} are expected")


def run(document_path, recorded, exceptions_path, least=None, torn_at_most=0):
    """The number of findings without an exception, of exceptions without a finding, and of what is
    wrong with the recording. recorded: {file: lines}; least: {pattern of files: operations}"""
    with open(document_path, encoding="utf-8") as file:
        contract = Contract(json.load(file))
    operations, unknown, torn = check_all(contract, recorded)
    exceptions = read_exceptions(exceptions_path)
    used, failures = set(), 0
    for finding, exchange in sorted(contract.findings.items()):
        fitting = [p for p in exceptions if fnmatch.fnmatchcase(finding, p)]
        used.update(fitting)
        if not fitting:
            failures += 1
            print(finding)
            print("    " + json.dumps(exchange)[:1000])
    wrong = [f"exception without use: {pattern}" for pattern in exceptions if pattern not in used]
    wrong.extend(too_few(operations, least or {}))
    if torn > torn_at_most:
        wrong.append(f"torn lines: {torn}")
    for text in wrong:
        failures += 1
        print(text)
    print(f"{contract.checked} different exchanges checked, {unknown} of other addresses, "
          f"{torn} torn, {len(set().union(*operations.values()))} operations, "
          f"{len(contract.findings)} findings, {failures} failures")
    return failures
