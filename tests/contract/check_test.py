"""The checker itself, with a small document."""

import contextlib
import io
import json
import pathlib
import tempfile
import unittest

import check

DOCUMENT = {
    "components": {"schemas": {
        "Thing": {"type": "object", "properties": {
            "id": {"type": "string"}, "note": {"type": "string", "nullable": True},
            "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Part"}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}}}},
        "Part": {"allOf": [{"type": "object", "properties": {"size": {"type": "integer"}}}]},
        "ErrorResponse": {"type": "object", "properties": {"error": {"type": "string"}}},
    }},
    "paths": {
        "/v1/things/{name}": {"post": {
            "parameters": [{"name": "count", "in": "query", "schema": {"type": "integer"}},
                           {"name": "owner", "in": "query", "required": True,
                            "schema": {"type": "string"}}],
            "requestBody": {"required": True, "content": {"application/json": {
                "schema": {"$ref": "#/components/schemas/Thing"}}}},
            "responses": {"200": {"content": {"application/json": {
                "schema": {"$ref": "#/components/schemas/Thing"}}}}}}},
        "/v1/things/first": {"post": {"responses": {"204": {}}}},
    },
}


class CheckTest(unittest.TestCase):
    def findings(self, exceptions="", options=None, lines=None, **changes):
        exchange = {"method": "POST", "path": "/v1/things/one", "query": {"owner": "me"},
                    "status": 200, "request": {"id": "a"}, "response": {"id": "a"}}
        exchange.update(changes)
        out = io.StringIO()
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(out):
            document = pathlib.Path(folder) / "document.json"
            document.write_text(json.dumps(DOCUMENT), encoding="utf-8")
            listed = pathlib.Path(folder) / "exceptions.txt"
            listed.write_text(exceptions, encoding="utf-8")
            recorded = {"unit/a": [json.dumps(exchange)] if lines is None else lines}
            failures = check.run(document, recorded, listed, **(options or {}))
        texts = [line.split(": ", 1)[1] for line in out.getvalue().splitlines()
                 if line.startswith(("POST", "exception", "too little", "torn"))]
        self.assertEqual(len(texts), failures)
        return texts

    def test_good(self):
        self.assertEqual([], self.findings(
            response={"note": None, "parts": [{"size": 1}], "labels": {"any": "x"}}))
        self.assertEqual([], self.findings(path="/v1/elsewhere"))

    def test_types_and_names(self):
        self.assertEqual(["200 response.id: 5 is not of type 'string'"],
                         self.findings(response={"id": 5}))
        self.assertEqual(["request.parts.*.siez is not in the document"],
                         self.findings(request={"parts": [{"siez": 1}]}))
        self.assertEqual(["200 response.labels.a: 1 is not of type 'string'"],
                         self.findings(response={"labels": {"a": 1}}))

    def test_parameters(self):
        self.assertEqual(["query owner is missing"], self.findings(query={"count": "5"}))
        self.assertEqual(["query count: 'x' is not of type 'integer'",
                          "query other is not in the document"],
                         self.findings(query={"owner": "me", "count": "x", "other": ""}))

    def test_bodies_and_statuses(self):
        self.assertEqual(["request is missing"], self.findings(request=None))
        self.assertEqual(["200 has no response"], self.findings(response=None))
        self.assertEqual(["404 response.message is not in the document",
                          "status 404 is not in the document"],
                         self.findings(status=404, response={"message": "gone"}))

    def test_special_address(self):
        self.assertEqual(["query owner is not in the document", "request is not in the document",
                          "status 200 is not in the document"],
                         self.findings(path="/v1/things/first"))

    def test_exceptions(self):
        self.assertEqual([], self.findings("*: request is missing\n    Known.\n", request=None))
        self.assertEqual(["*: status 500*"], self.findings("*: status 500*\n    Once.\n"))
        with self.assertRaises(SystemExit):
            self.findings("*: without a reason\n")

    def test_recording(self):
        def least(pattern, count):
            return {"least": {pattern: count}}
        text = "{} different operations in {}, at least {} are expected"
        self.assertEqual([], self.findings(options=least("unit/*", 1)))
        self.assertEqual([text.format(1, "unit/*", 2)], self.findings(options=least("unit/*", 2)))
        self.assertEqual([text.format(0, "e2e/*", 1)], self.findings(options=least("e2e/*", 1)))
        self.assertEqual([text.format(0, "unit/*", 1)],
                         self.findings(options=least("unit/*", 1), lines=[]))
        self.assertEqual(["1"], self.findings(lines=["{\"method\":", ""]))
        self.assertEqual([], self.findings(lines=["{\"method\":"], options={"torn_at_most": 1}))


if __name__ == "__main__":
    unittest.main()
