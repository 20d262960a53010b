-- Images that the local Fly builds from a folder, and the commands that it runs of them.
local fs = require "host.fs"
local path_of = require "dgrun.core.path"
local world = require "support.sandbox"

---A project whose local Fly this is, with a checkout of it to build from.
local function with_project(files, body)
    world.run(function(fly)
        fly.dir_of_checkout = fly.dir / "checkout"
        for name, text in pairs(files) do
            local path = fly.dir_of_checkout / name
            assert(fs.mkdir(path_of.dirname(path), { parents = true }))
            assert(fs.write(path, text))
        end
        body(fly)
    end)
end

local function build(fly)
    local status, built = fly.call("POST", "/sandbox/v1/builds",
        { app = "web", label = "real", dir = fly.dir_of_checkout })
    assert.equal(201, status, built.error)
    return built
end

local function started(fly, config)
    config = config or {}
    config.image = build(fly).image
    local machine = fly.create { config = config }
    fly.wait(machine.id, "started")
    return machine
end

local function output(fly, machine, ...)
    local _, result = fly.call("POST", "/v1/apps/web/machines/" .. machine.id .. "/exec",
        { command = { ... } })
    return result.stdout, result
end

local function log_of(fly)
    local _, page = fly.call("GET", "/api/v1/apps/web/logs")
    local lines = {}
    for i, line in ipairs(page.data) do
        lines[i] = line.attributes.message
    end
    return table.concat(lines, "\n")
end

describe("an image of a folder", function()
    it("has what COPY brings, at its place, and the environment of ENV", function()
        with_project({ ["Dockerfile"] = table.concat({ "FROM debian", "ENV GREETING=\"hello you\"",
            "ENV PATH=/srv/bin:$PATH DATA=/srv/data.txt", "WORKDIR /srv", "COPY data.txt .",
            "COPY bin bin/", "RUN exit 1", 'CMD ["sleep", "60"]' }, "\n"),
            ["data.txt"] = "data\n", ["bin/greet"] = "#!/bin/sh\necho $GREETING; cat \"$DATA\"\n",
            ["secret.txt"] = "no" }, function(fly)
            assert(fs.write(fly.dir_of_checkout / "bin/greet", "#!/bin/sh\necho $GREETING\n"
                .. "cat \"$DATA\"\n", { mode = "0755" }))
            assert.equal(1, build(fly).not_run)
            local machine = started(fly)
            assert.equal("hello you\ndata\n", output(fly, machine, "greet"))
            assert.equal("hello you\ndata\n", output(fly, machine, "/srv/bin/greet"))
            assert.equal("data\n", output(fly, machine, "cat", "/srv/data.txt"))
            assert.equal("bin\ndata.txt\n", output(fly, machine, "ls"))
        end)
    end)

    it("is not built where COPY names a file that the context does not have", function()
        with_project({ ["Dockerfile"] = "FROM debian\nCOPY a b /srv/\n", a = "",
            [".dockerignore"] = "b\n", b = "" }, function(fly)
            local status, answer = fly.call("POST", "/sandbox/v1/builds",
                { app = "web", label = "real", dir = fly.dir_of_checkout })
            assert.equal(422, status)
            assert.matches("COPY: the build context has no b, or .dockerignore leaves it out",
                answer.error)
        end)
    end)
end)

describe("images of an app", function()
    local function release(fly, label, status)
        assert(fs.write(fly.dir_of_checkout / "data.txt", label))
        local _, built = fly.call("POST", "/sandbox/v1/builds",
            { app = "web", label = label, dir = fly.dir_of_checkout })
        local _, made = fly.call("POST", "/api/v1/releases", { app_name = "web",
            image = built.image, definition = {}, strategy = "ROLLING" })
        assert.equal(200, (fly.call("PATCH", "/api/v1/releases/" .. made.release.id,
            { status = status })))
    end

    local function labels(fly)
        local found = {}
        for _, label in ipairs { "a", "b", "c", "d", "e", "f", "g", "h" } do
            found[#found + 1] = fly.call("GET", "/v2/web/manifests/" .. label) == 200 and label
                or nil
        end
        return table.concat(found, " "), #assert(fs.list(fly.dir / "images"))
    end

    it("are kept for machines, the last three releases and the current one", function()
        with_project({ ["Dockerfile"] = "FROM debian\nCOPY data.txt .\nCMD [\"sleep\", \"60\"]\n" },
            function(fly)
                release(fly, "a", "complete")
                fly.create { config = { image = "registry.fly.io/web:a" }, skip_launch = true }
                release(fly, "b", "complete")
                release(fly, "c", "complete")
                for _, label in ipairs { "d", "e", "f", "g" } do
                    release(fly, label, "failed")
                end
                assert(fs.mkdir(fly.dir / "images/0123.part")) -- left by a build that was killed
                assert.same({ "a c d e f g", 7 }, { labels(fly) })
                release(fly, "h", "complete")
                assert.same({ "a c e f g h", 6 }, { labels(fly) })
            end)
    end)
end)

describe("a program that the image does not have", function()
    local dockerfile = "FROM debian\nCOPY --from=builder /app/.venv /app/.venv\n"
        .. 'CMD ["sleep", "60"]\n'

    it("is one of PATH, also when the image has it elsewhere", function()
        with_project({ ["Dockerfile"] = dockerfile }, function(fly)
            local machine = started(fly)
            assert.equal("x\n", output(fly, machine, "/usr/local/bin/printf", "x\\n"))
            assert.equal("x\n", output(fly, machine, "/app/.venv/bin/python", "-c", "print('x')"))
            assert.equal("x\n", output(fly, machine, "sh", "-c",
                "/app/.venv/bin/python -c \"print('x')\""))
        end)
    end)

    it("is not found with a message that names it, and ends with 127", function()
        with_project({ ["Dockerfile"] = dockerfile }, function(fly)
            local machine = started(fly)
            local _, result = output(fly, machine, "/app/.venv/bin/nobody-has-this")
            assert.equal(127, result.exit_code)
            assert.equal("the local Fly runs the image's command on this machine; "
                .. "`nobody-has-this` is not in PATH or in .venv", result.stderr)
            fly.create { config = { image = "registry.fly.io/web:real", restart = { policy = "no" },
                init = { exec = { "/srv/nobody-has-this" } } } }
            fly.until_true(function() return log_of(fly):find("code: 127", 1, true) end)
            assert.matches("`nobody-has-this` is not in PATH or in .venv", log_of(fly), 1, true)
        end)
    end)

    it("says so where another stage would have built it", function()
        with_project({ ["Dockerfile"] = "FROM debian\nCOPY --from=build /out/server /srv/\n"
            .. 'CMD ["sleep", "60"]\n' }, function(fly)
            local _, result = output(fly, started(fly), "/srv/server")
            assert.matches("the image takes /srv/server from build", result.stderr, 1, true)
        end)
    end)
end)

describe("a program with a fixed port", function()
    local dockerfile = "FROM debian\nWORKDIR /srv\nCOPY index.html .\n"
        .. 'CMD ["busybox", "httpd", "-f", "-p", "0.0.0.0:8080"]\n'

    local function site(fly)
        local answer = assert(require("host.http").request {
            url = fly.sandbox.site "https://web.fly.dev/index.html" })
        return answer.status, answer.body
    end

    local function web_machine(fly, cmd)
        local config = { image = build(fly).image, services = world.web_config.services }
        config.services[1].checks[1].path = "/index.html"
        config.init = cmd and { cmd = cmd }
        return fly.create { config = config }
    end

    local function is_healthy(fly, machine)
        local status = (fly.get(machine.id).checks or {})[1]
        return status and status.status == "passing"
    end

    it("serves in several machines at once, on loopback only", function()
        with_project({ ["Dockerfile"] = dockerfile, ["index.html"] = "hello" }, function(fly)
            local machines = { web_machine(fly), web_machine(fly) }
            for _, machine in ipairs(machines) do
                fly.until_true(function() return is_healthy(fly, machine) end)
            end
            assert.same({ 200, "hello" }, { site(fly) })
            for _, file in ipairs { "/proc/net/tcp", "/proc/net/tcp6" } do
                local anywhere = ": 0+:1F90 "
                assert.not_matches(anywhere, fs.read(file))
            end
            local _, list = fly.call("GET", "/v1/apps/web/machines/" .. machines[1].id .. "/ps")
            assert.equal("0.0.0.0:8080", list[2].listen_sockets[1].address)
        end)
    end)

    it("says which one where it is another than internal_port", function()
        with_project({ ["Dockerfile"] = dockerfile, ["index.html"] = "" }, function(fly)
            local why = "nothing listens on 0.0.0.0:8080 (internal_port), but the program "
                .. "listens on "
            for _, where in ipairs { "3000", "127.0.0.1:8080" } do
                local machine = web_machine(fly, { "busybox", "httpd", "-f", "-p", where })
                fly.until_true(function()
                    local check = (fly.get(machine.id).checks or {})[1]
                    return check and check.output == why .. where
                end)
            end
            fly.until_true(function() return log_of(fly):find(why .. "3000", 1, true) end)
        end)
    end)

    it("is reached by a command in its machine", function()
        with_project({ ["Dockerfile"] = dockerfile, ["index.html"] = "hello" }, function(fly)
            local machine = web_machine(fly)
            fly.until_true(function() return is_healthy(fly, machine) end)
            assert.equal("hello", output(fly, machine, "busybox", "wget", "-q", "-O", "-",
                "http://127.0.0.1:8080/index.html"))
        end)
    end)

    it("reaches itself and the services of this system", function()
        local outside = assert(require("host.server").listen {})
        with_project({ ["Dockerfile"] = dockerfile, ["index.html"] = "hello" }, function(fly)
            local script = ("busybox httpd -f -p 8080 & for i in 1 2 3; do "
                .. "busybox wget -q -O - http://127.0.0.1:8080/index.html && break; sleep 0.1; "
                .. "done; busybox nc 127.0.0.1 %d </dev/null && echo reached")
                :format(outside:port())
            web_machine(fly, { "sh", "-c", script .. "; wait" })
            fly.until_true(function()
                local log = log_of(fly)
                return log:find("hello", 1, true) and log:find("reached", 1, true)
            end)
        end)
        outside:close()
    end)
end)
