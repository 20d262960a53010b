-- prod_deploy, unmodified, with images that know nothing of dgrun: fixed ports, a virtual
-- environment, Node, a static Go binary, a static site. And why one does not come up.
local fs = require "host.fs"
local full_it = require("support.matrix").full_it
local proc = require "host.proc"
local repository = require "support.repository"
local time = require "host.time"

local binary = os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe"
local root = fs.cwd()

local environments = [[
environments:
  prod:
    app: ordinary
    url: https://ordinary.fly.dev
    config: fly.toml
]]

local fly_toml = [=[
app = "ordinary"
primary_region = "ewr"
[http_service]
internal_port = 8080
[[http_service.checks]]
path = "/health"
]=]

---A server that answers each request with a text, in Python.
---@param port string expression
local function python_server(port, text)
    return ([[
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(%s).encode())
    def log_message(self, *words):
        pass
HTTPServer(("0.0.0.0", %s), Handler).serve_forever()
]]):format(text, port)
end

---@param files table<string, string> of the application
local function new_project(files)
    local dir = repository.new()
    local all = { ["scripts/environments.yaml"] = environments, ["fly.toml"] = fly_toml,
        ["scripts/prod_deploy.lua"] = assert(fs.read(root / "scripts/prod_deploy.lua")),
        [".gitignore"] = ".dgrun\n.venv\n" }
    for path, text in pairs(files) do
        all[path] = text
    end
    repository.commit(dir, all)
    return dir
end

local function run(dir, ...)
    local result = assert(proc.run { argv = { binary, "--sandbox", ... }, cwd = dir,
        clean_env = true, timeout = 60, env = { PATH = os.getenv "PATH", HOME = "/nonexistent",
            LANG = "C.UTF-8", DGRUN_STDLIB = os.getenv "DGRUN_STDLIB",
            DGRUN_EXCHANGES = os.getenv "DGRUN_EXCHANGES", TMPDIR = os.getenv "TMPDIR",
            ASAN_OPTIONS = os.getenv "ASAN_OPTIONS", LSAN_OPTIONS = os.getenv "LSAN_OPTIONS" } })
    result.all = result.stdout .. result.stderr
    return result
end

---Deploys, and asks the site for what it shows at /health.
local function deploys(dir, expected)
    local result = run(dir, "prod_deploy")
    assert.equal(0, result.status, result.all)
    assert.matches("health answered 200", result.all, 1, true)
    local shown = run(dir, "-e", 'print(require("dgrun").http.get('
        .. '"https://ordinary.fly.dev/health").body)')
    assert.matches(expected, shown.stdout, 1, true, shown.all)
end

---@return boolean # false: the test was skipped
local function has(program)
    local found = proc.run { argv = { "sh", "-c", "command -v " .. program } }
    if found.status ~= 0 then
        pending(program .. " is not installed, so this image was not tried")
    end
    return found.status == 0
end

describe("prod_deploy of an ordinary image", function()
    it("whose command has a fixed port, in the project's virtual environment", function()
        local dir = new_project {
            Dockerfile = "FROM python:3.12 AS builder\nRUN python -m venv /app/.venv\n"
                .. "FROM python:3.12-slim\nWORKDIR /app\n"
                .. "COPY --from=builder /app/.venv /app/.venv\nCOPY . .\n"
                .. 'CMD ["/app/.venv/bin/python", "server.py"]\n',
            ["server.py"] = python_server("8080", "sys.prefix"),
        }
        assert(proc.run { argv = { "/usr/bin/python3", "-m", "venv", "--without-pip", ".venv" },
            cwd = dir })
        deploys(dir, dir / ".venv")
    end)

    it("of a static site", function()
        if has "busybox" then
            deploys(new_project {
                Dockerfile = "FROM busybox\nCOPY site /site\n"
                    .. 'CMD ["busybox", "httpd", "-f", "-p", "8080", "-h", "/site"]\n',
                ["site/health"] = "a static site",
            }, "a static site")
        end
    end)

    full_it("in the virtual environment that environments.yaml names", function()
        local dir = new_project {
            Dockerfile = 'FROM python:3.12\nWORKDIR /app\nCOPY . .\nCMD ["python", "server.py"]\n',
            ["server.py"] = python_server("8080", "sys.prefix"),
            ["scripts/environments.yaml"] = environments
                .. "    sandbox: { python: envs/web/bin/python }\n",
            [".gitignore"] = ".dgrun\nenvs\n",
        }
        assert(proc.run { argv = { "/usr/bin/python3", "-m", "venv", "--without-pip", "envs/web" },
            cwd = dir })
        deploys(dir, dir / "envs/web")
    end)

    it("that is simulated, and says so", function()
        local dir = new_project { Dockerfile = 'FROM scratch\nCMD ["/needs-a-gpu"]\n',
            ["scripts/environments.yaml"] = environments .. "    sandbox: { simulate: true }\n" }
        local result = run(dir, "prod_deploy")
        assert.equal(0, result.status, result.all)
        assert.matches("the local Fly simulates this image: its program does not run", result.all,
            1, true)
        assert.matches("(in the sandbox, simulated)", result.all, 1, true)
        assert.matches("image    registry.fly.io/ordinary:dgrun%-%x+%-simulated@", result.all)
        assert.matches("dgrun%-%x+%-simulated", run(dir, "status", "prod").all)
    end)

    full_it("of a Node server", function()
        if has "node" then
            deploys(new_project {
                Dockerfile = 'FROM node:22\nWORKDIR /app\nCOPY . .\nCMD ["node", "server.js"]\n',
                ["server.js"] = "const server = require('http').createServer("
                    .. "(request, response) => response.end('port ' + server.address().port))\n"
                    .. "server.listen(8080)\n",
            }, "port 8080")
        end
    end)

    full_it("of a static Go binary that reads $PORT", function()
        if not has "go" then
            return
        end
        local dir = new_project {
            Dockerfile = 'FROM scratch\nCOPY server /server\nCMD ["/server"]\n',
            ["main.go"] = [[
package main

import (
	"net"
	"os"
)

func main() {
	listener, err := net.Listen("tcp", ":"+os.Getenv("PORT"))
	if err != nil {
		panic(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		request := make([]byte, 4096)
		connection.Read(request)
		connection.Write([]byte("HTTP/1.0 200 OK\r\n\r\na static binary"))
		connection.Close()
	}
}
]],
        }
        local built = assert(proc.run { argv = { "go", "build", "-o", "server", "main.go" },
            cwd = dir,
            env = { GO111MODULE = "off", CGO_ENABLED = "0", GOFLAGS = "-buildvcs=false" },
            timeout = 300 })
        assert.equal(0, built.status, built.stderr)
        repository.commit(dir, {})
        deploys(dir, "a static binary")
    end)
end)

describe("an image that does not come up fails within seconds", function()
    ---@param expected string of the message
    local function fails(dir, expected)
        local began = time.now()
        local result = run(dir, "prod_deploy")
        assert.equal(1, result.status, result.all)
        assert.matches(expected, result.all, 1, true)
        assert.is_true(time.now() - began < 30, "it took long") -- a loaded computer
        return result.all
    end

    it("where its program is not found, also when the machine has the image", function()
        local dir = new_project { Dockerfile = 'FROM debian\nCMD ["no-such-server"]\n' }
        local reason = "the local Fly runs the image's command on this machine; `no-such-server` "
            .. "is not in PATH or in .venv"
        assert.matches("exit code 127, the command was not found", fails(dir, reason), 1, true)
        fails(dir, reason)
        assert.matches("already on", fails(dir, reason), 1, true)
    end)

    full_it("where its program listens on another port", function()
        fails(new_project { Dockerfile = 'FROM debian\nCOPY . /app\nCMD ["python3", '
            .. '"/app/server.py"]\n', ["server.py"] = python_server("3000", "'hello'") },
            "nothing listens on 0.0.0.0:8080 (internal_port); the program listens on 0.0.0.0:3000")
    end)

    full_it("where its program crashes", function()
        local dockerfile = 'FROM debian\nCMD ["sh", "-c", "echo no table; exit 3"]\n'
        fails(new_project { Dockerfile = dockerfile },
            "crashes: exit code 3")
    end)
end)
