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
