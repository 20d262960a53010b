local fs = require "host.fs"
local http = require "host.http"
local proc = require "host.proc"
local secret = require "host.secret"
local server = require "host.server"
local task = require "dgrun.core.task"
local time = require "host.time"

-- It is about the world outside of the process, which does not jump.
before_each(function() time.pause(false) end)

---A server whose requests go to `handler`, for the length of `body(base)`.
local function serving(handler, body)
    local s = assert(server.listen {})
    task.scope(function()
        local acceptor = task.spawn(function()
            while true do
                local request = s:accept()
                if not request then
                    return
                end
                task.spawn(function() handler(request) end)
            end
        end)
        local ok, e = pcall(body, ("http://127.0.0.1:%d"):format(s:port()))
        s:close()
        acceptor.cancel()
        if not ok then
            error(e, 0)
        end
    end)
end

---A raw TCP peer that answers with these bytes and closes.
local function raw_peer(bytes, body)
    local child = assert(proc.spawn {
        argv = { "/usr/bin/python3", "-c", [[
import os, socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen()
print(s.getsockname()[1], flush=True)
c, _ = s.accept()
c.recv(65536)
c.sendall(os.environb[b"BYTES"])
c.close()]] },
        env = { BYTES = bytes },
    })
    local port = assert(child:read()).line
    local ok, e = pcall(body, "http://127.0.0.1:" .. port)
    child:kill "SIGKILL"
    while child:read() do task.checkpoint() end
    child:wait()
    if not ok then
        error(e, 0)
    end
end

local function code_of(opts)
    local answer, e = http.request(opts)
    assert.is_nil(answer)
    return e.code, e
end

describe("host.http", function()
    it("asks and hears: method, headers, body, status", function()
        serving(function(request)
            request:reply { status = 201, headers = { ["X-Method"] = request.method },
                body = request.headers["x-one"] .. " " .. request.body }
        end, function(base)
            local answer = assert(http.request { url = base .. "/p", method = "PUT",
                headers = { ["X-One"] = "1" }, body = "body" })
            assert.equal(201, answer.status)
            assert.equal("1 body", answer.body)
            assert.equal("PUT", answer.headers["x-method"])
        end)
    end)

    it("has many transfers at once", function()
        local list = {}
        for i = 1, 20 do
            list[i] = i
        end
        serving(function(request)
            task.sleep(0.01)
            request:reply { status = 200, body = request.query.i }
        end, function(base)
            local bodies = task.map(list, {}, function(i)
                return assert(http.request { url = base .. "/?i=" .. i }).body
            end)
            for i = 1, 20 do
                assert.equal(tostring(i), bodies[i])
            end
        end)
    end)

    it("opens a sealed header and body for the wire only", function()
        local token = secret.new("TOKEN", "sealed-token-value")
        serving(function(request)
            request:reply { status = 200, body = tostring(
                request.headers.authorization == "Bearer sealed-token-value"
                and request.body == "x=sealed-token-value") }
        end, function(base)
            local answer = assert(http.request { url = base, method = "POST",
                headers = { Authorization = "Bearer " .. token }, body = "x=" .. token })
            assert.equal("true", answer.body)
        end)
        local _, e = code_of { url = "http://127.0.0.1:1/", headers = { A = token } }
        assert.is_nil(tostring(e):find("sealed-token", 1, true))
    end)

    it("refuses what would end a header line, and what is no request", function()
        for _, headers in ipairs { { A = "1\r\nB: 2" }, { ["A\r\nB"] = "1" }, { [""] = "1" },
            { A = {} } } do
            local ok, e = pcall(http.request, { url = "http://127.0.0.1:1/", headers = headers })
            assert.is_false(ok)
            assert.equal("input.invalid", e.code)
        end
        assert.is_false(pcall(http.request, { url = "http://127.0.0.1:1/", method = "GET /" }))
        assert.equal("http.invalid_url", code_of { url = "file:///etc/passwd" })
        assert.equal("http.invalid_url", code_of { url = "ftp://127.0.0.1/" })
        local ok, e = pcall(http.request, { url = "http://x/", verify = false })
        assert.is_false(ok)
        assert.equal("input.unknown_option", e.code)
    end)

    it("tells failures apart, without the query", function()
        local code, e = code_of { url = "http://127.0.0.1:1/path?secret=1" }
        assert.equal("http.connect", code)
        assert.matches("GET http://127.0.0.1:1/path:", e.msg, 1, true)
        assert.equal("no", e.sent)
        assert.equal("http.resolve", code_of { url = "http://nosuch.invalid/" })
        raw_peer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", function(base)
            assert.equal("http.reset", code_of { url = base })
        end)
        raw_peer("", function(base)
            assert.equal("http.reset", code_of { url = base })
        end)
        serving(function(request) request:abort() end, function(base)
            assert.equal("http.reset", code_of { url = base, method = "POST", body = "x" })
        end)
    end)

    it("ends what takes too long, and what is too large", function()
        serving(function(request)
            if request.path == "/slow" then
                task.sleep(60)
            end
            request:reply { status = 200, body = ("x"):rep(100000) }
        end, function(base)
            assert.equal("http.timeout", code_of { url = base .. "/slow", timeout = 0.05 })
            assert.equal("http.too_large", code_of { url = base, limit = 1000 })
            assert.equal(100000, #assert(http.request { url = base, limit = 100000 }).body)
        end)
    end)

    it("is cancelled with its task", function()
        serving(function(request)
            task.sleep(60)
            request:reply { status = 200 }
        end, function(base)
            local ok, e = pcall(task.timeout, 0.02, function()
                local _, cancelled = http.request { url = base }
                assert(cancelled.code == "cancelled")
            end)
            assert.is_false(ok)
            assert.equal("timeout", e.code)
        end)
    end)

    it("streams down, with little in memory, and up from a file", function()
        local size = 8 * 1024 * 1024
        serving(function(request)
            if request.method == "GET" then
                request:reply { status = 200, body = ("x"):rep(size) }
            else
                request:reply { status = 200, body = tostring(#request.body) }
            end
        end, function(base)
            local stream = assert(http.stream { url = base })
            assert.equal(200, stream:status())
            local got = 0
            for chunk in function() return stream:read() end do
                got = got + #chunk
            end
            assert.equal(size, got)
            stream:close()
            local early = assert(http.stream { url = base })
            assert.is_true(#early:read() > 0)
            early:close()
            local path = fs.temp_dir("http") / "file"
            assert(fs.write(path, ("y"):rep(size)))
            local answer = assert(http.request { url = base, method = "PUT", body_file = path })
            assert.equal(tostring(size), answer.body)
            fs.remove(path)
        end)
    end)

    it("verifies certificates, always", function()
        local dir = assert(fs.temp_dir("tls"))
        local made = assert(proc.run { cwd = dir, argv = { "openssl", "req", "-x509", "-nodes",
            "-newkey", "rsa:2048", "-days", "2", "-subj", "/CN=localhost", "-addext",
            "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem" } })
        assert.equal(0, made.status)
        local probe = assert(server.listen {})
        local port = probe:port()
        probe:close()
        local child = assert(proc.spawn { cwd = dir, argv = { "openssl", "s_server", "-quiet",
            "-www", "-accept", tostring(port), "-cert", "cert.pem", "-key", "key.pem" } })
        local url = ("https://localhost:%d/"):format(port)
        local code, e
        task.timeout(20, function()
            repeat
                code, e = code_of { url = url }
                task.sleep(0.02)
            until code ~= "http.connect"
        end)
        assert.equal("http.tls", code, tostring(e))
        assert.equal(200, assert(http.request { url = url, ca_file = dir / "cert.pem" }).status)
        child:kill "SIGKILL"
        child:wait()
        fs.remove(dir, { recursive = true })
    end)

    it("sends a write once, also on a kept connection that is closed without an answer", function()
        -- It tells what it is asked, and closes the connection at /dies.
        local peer = assert(proc.spawn { argv = { "/usr/bin/python3", "-uc", [[
import socket, threading
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen()
print(s.getsockname()[1])
def serve(c):
    while True:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = c.recv(65536)
            if not piece:
                return c.close()
            head += piece
        line = head.split(b"\r\n")[0].decode()
        print(line)
        if "/dies" in line:
            return c.close()
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()]] } })
        local base = "http://127.0.0.1:" .. assert(peer:read()).line
        local expected = {}
        for _, method in ipairs { "POST", "PATCH", "PUT", "DELETE" } do
            assert.equal(200, http.request({ url = base .. "/lives" }).status)
            local code, e = code_of { url = base .. "/dies", method = method, body = "data" }
            assert.equal("http.reset", code)
            assert.equal("maybe", e.sent)
            expected[#expected + 1] = "GET /lives HTTP/1.1"
            expected[#expected + 1] = method .. " /dies HTTP/1.1"
        end
        assert.equal(200, http.request({ url = base .. "/lives" }).status)
        expected[#expected + 1] = "GET /lives HTTP/1.1"
        peer:kill "SIGKILL"
        local seen = {}
        for line in function() return peer:read() end do
            seen[#seen + 1] = line.line
        end
        peer:wait()
        assert.same(expected, seen)
    end)
end)

describe("host.http.connect", function()
    it("opens a connection, and sends nothing", function()
        local s = assert(server.listen {})
        local there = assert(http.connect { host = "127.0.0.1", port = s:port() })
        assert.equal("127.0.0.1", there.address)
        assert.is_true(there.seconds >= 0)
        assert(http.connect { host = "localhost", port = s:port() })
        s:close()
    end)

    it("says why nobody is there, and asks no proxy", function()
        local s = assert(server.listen {})
        local port = s:port()
        local run = assert(proc.run { argv = { os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe",
            "-e", ([[local _, e = require("host.http").connect { host = "127.0.0.1", port = %d }
                print(e.code, e.sent)]]):format(1) },
            env = { http_proxy = "http://127.0.0.1:" .. port, HTTP_PROXY = false } })
        assert.equal("http.connect\tno\n", run.stdout, run.stderr)
        s:close()
        local gone, e = http.connect { host = "127.0.0.1", port = port }
        assert.is_nil(gone)
        assert.equal("http.connect", e.code)
        local _, unknown = http.connect { host = "nosuch.invalid", port = 1 }
        assert.equal("http.resolve", unknown.code)
    end)

    it("refuses what is no host and no port", function()
        for _, opts in ipairs { { host = "a/b", port = 1 }, { host = "", port = 1 },
            { host = "user@a", port = 1 }, { host = "a", port = 0 }, { host = "a", port = 65536 },
            { host = "a" } } do
            assert.is_false((pcall(http.connect, opts)))
        end
    end)

    it("can be cancelled", function()
        local port = require("support.waits").listener "full"
        local ok, e = pcall(task.timeout, 0.05, function()
            local _, why = http.connect { host = "127.0.0.1", port = port, timeout = 600 }
            require("dgrun.core.err").raise(why)
        end)
        assert.is_false(ok)
        assert.equal("timeout", e.code)
    end)
end)

describe("host.http and secrets", function()
    ---A server that is also the proxy of the environment. What is meant for a proxy has a whole URL
    ---for its path: "POST http://host/path HTTP/1.1".
    local function behind_proxy(names, handler, body)
        serving(handler, function(base)
            for _, name in ipairs(names) do
                proc.export(name, base)
            end
            local ok, e = pcall(body, base)
            for _, name in ipairs(names) do
                proc.export(name, nil)
            end
            proc.export("no_proxy", nil)
            if not ok then
                error(e, 0)
            end
        end)
    end

    local function is_proxied(request)
        return request.method == "CONNECT" or request.path:match "^%a+://" ~= nil
    end

    local proxies = { "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
        "HTTP_PROXY" }

    it("asks the proxy of the environment for other hosts", function()
        behind_proxy({ "http_proxy" }, function(request)
            request:reply { status = 200, body = is_proxied(request) and "proxied" or "direct" }
        end, function()
            local answer = assert(http.request { url = "http://elsewhere.test/x", timeout = 5 })
            assert.equal("proxied", answer.body)
        end)
    end)

    it("never asks a proxy for an address of this machine", function()
        local proxied = 0
        behind_proxy(proxies, function(request)
            proxied = proxied + (is_proxied(request) and 1 or 0)
            request:reply { status = 200, body = "heard" }
        end, function(base)
            local port = base:match ":(%d+)$"
            for _, no_proxy in ipairs { "", "example.com, .internal" } do
                proc.export("no_proxy", no_proxy)
                for _, host in ipairs { "127.0.0.1", "127.8.9.1", "127.1", "0x7f.1", "2130706433",
                    "localhost", "LOCALHOST", "app.localhost", "localhost.", "0.0.0.0", "[::1]",
                    "[0:0::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:2]", "[::]" } do
                    -- Nothing listens at some of them; what counts is who was asked.
                    for _, scheme in ipairs { "http", "https" } do
                        http.request { url = ("%s://%s:%s/v1"):format(scheme, host, port),
                            method = "POST", timeout = 1,
                            headers = { Authorization = secret.new("token", "hunter2-hunter2") } }
                        assert.equal(0, proxied, scheme .. "://" .. host)
                    end
                end
                assert.equal("heard", assert(http.request { url = base, timeout = 5 }).body)
            end
        end)
    end)

    it("asks no proxy for this machine after a redirect either", function()
        behind_proxy({ "http_proxy" }, function(request)
            if request.headers.host == "elsewhere.test" then
                return request:reply { status = 302,
                    headers = { Location = request.headers["x-base"] .. "/here" } }
            end
            request:reply { status = 200, body = is_proxied(request) and "proxied" or "direct" }
        end, function(base)
            local answer = assert(http.request { url = "http://elsewhere.test/", follow = true,
                headers = { ["X-Base"] = base }, timeout = 5 })
            assert.equal("direct", answer.body)
        end)
    end)

    ---@param to string the host that the server at 127.0.0.1 redirects to
    local function redirected(status, to, opts)
        local seen, answer, e = 0, nil, nil
        serving(function(request)
            if request.path == "/from" then
                return request:reply { status = status, headers = {
                    Location = ("http://%s/to"):format(
                        to .. request.headers.host:match ":%d+$") } }
            end
            seen = seen + 1
            request:reply { status = 200, body = "arrived" }
        end, function(base)
            opts.url, opts.follow, opts.timeout = base .. "/from", true, 5
            answer, e = http.request(opts)
        end)
        return answer, e, seen
    end

    it("takes no secret of a header or a body to another host by a redirect", function()
        for _, status in ipairs { 301, 302, 303, 307, 308 } do
            for _, opts in ipairs {
                { headers = { ["X-Api-Key"] = secret.new("key", "hunter2-hunter2") } },
                { headers = { ["X-Api-Key"] = "v " .. secret.new("key", "hunter2-hunter2") } },
                { method = "POST", body = secret.new("body", "swordfish-swordfish") },
            } do
                local answer, e, seen = redirected(status, "localhost", opts)
                assert.is_nil(answer)
                assert.equal("http.redirect", e.code)
                assert.truthy(e.location:match "^http://localhost:%d+$")
                assert.matches(("If %s is the right URL, request it directly. Without 'follow', "
                    .. "the redirect itself is returned."):format(e.location), e.hint, 1, true)
                assert.equal(0, seen)
            end
        end
    end)

    it("follows redirects within the origin with a secret, and others without one", function()
        local key = secret.new("key", "hunter2-hunter2")
        local near = redirected(307, "127.0.0.1", { headers = { ["X-Api-Key"] = key } })
        assert.equal("arrived", near.body)
        local far = redirected(307, "localhost", { headers = { ["X-Api-Key"] = "public" } })
        assert.equal("arrived", far.body)
    end)
end)

describe("host.server", function()
    it("does not share its port with another one", function()
        local first = assert(server.listen {})
        local second, e = server.listen { port = first:port() }
        first:close()
        assert.is_nil(second)
        assert.equal("server.listen", e.code)
        -- Free again, whatever its last connections wait for.
        local third = assert(server.listen { port = first:port() })
        third:close()
    end)
end)
