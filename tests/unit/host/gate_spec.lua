-- A closed gate stays closed, so each case is a dgrun of its own.
local fs = require "host.fs"
local proc = require "host.proc"

local binary = fs.real("/proc/self/exe")

describe("host.gate", function()
    local dir

    before_each(function() dir = assert(fs.temp_dir("gate-spec")) end)
    after_each(function() assert(fs.remove(dir, { recursive = true })) end)

    ---What the script prints, with `dir` and the modules at hand.
    local function output_of(body, env)
        local script = dir .. "/script.lua"
        assert(fs.write(script, ([[
            local fs, gate, log = require "host.fs", require "host.gate", require "host.log"
            local dir = %q
            local function say(value, e)
                log.out((value and "done" or e.code .. ": " .. e.msg) .. "\n")
            end
        ]]):format(dir) .. body))
        local result = assert(proc.run { argv = { binary, script }, env = env })
        assert.equal(0, result.status, result.stderr)
        return result.stdout
    end

    it("refuses every write once it is closed", function()
        assert(fs.write(dir .. "/a", "before"))
        assert(fs.mkdir(dir .. "/folder"))
        local refused = output_of [[
            gate.close()
            say(fs.write(dir .. "/a", "after"))
            say(fs.append(dir .. "/a", "after"))
            say(fs.mkdir(dir .. "/new"))
            say(fs.remove(dir .. "/a"))
            say(fs.remove(dir, { recursive = true }))
            say(fs.rename(dir .. "/a", dir .. "/b"))
            say(fs.copy(dir .. "/a", dir .. "/b"))
            say(fs.symlink(dir .. "/a", dir .. "/b"))
            say(fs.lock(dir .. "/lock"))
        ]]
        local count = 0
        for line in refused:gmatch("[^\n]+") do
            assert.matches("^plan%.write_refused: fs%.%w+: .*gate%-spec.*because a plan", line)
            count = count + 1
        end
        assert.equal(9, count)
        assert.same({ "a", "folder", "script.lua" }, fs.list(dir))
        assert.equal("before", fs.read(dir .. "/a"))
    end)

    it("lets temporary folders and reads pass", function()
        assert.equal("false\ndone\ntrue\ndone\ndone\ndone\ndone\n", output_of [[
            log.out(tostring(gate.closed()) .. "\n")
            say(fs.write(dir .. "/a", "before"))
            gate.close()
            log.out(tostring(gate.closed()) .. "\n")
            local temp = fs.temp_dir("gate-spec-plan")
            say(fs.mkdir(temp .. "/x/y"))
            say(fs.copy(dir .. "/a", temp .. "/x/y/a"))
            say(fs.read(temp .. "/x/y/a"))
            say(fs.remove(temp, { recursive = true }))
        ]])
    end)

    it("sees through links and dots", function()
        assert(fs.mkdir(dir .. "/outside"))
        local said = output_of [[
            local allowed = fs.temp_dir("gate-spec-allowed")
            local from_allowed = ("../"):rep(select(2, fs.real(allowed):gsub("/", "")))
                .. fs.real(dir):sub(2)
            assert(fs.symlink(dir .. "/outside", allowed .. "/out"))
            assert(fs.symlink(dir .. "/outside/new", allowed .. "/dangling"))
            gate.close()
            say(fs.write(allowed .. "/fine", ""))
            say(fs.write(allowed .. "/../" .. allowed:match("[^/]+$") .. "/fine", ""))
            say(fs.write(allowed .. "/out/file", ""))
            say(fs.write(allowed .. "/" .. from_allowed .. "/outside/file", ""))
            say(fs.mkdir(allowed .. "/new/../" .. from_allowed .. "/outside/x"))
            say(fs.append(allowed .. "/dangling", ""))
            say(fs.write(allowed .. "-not/file", ""))
            fs.remove(allowed, { recursive = true })
        ]]
        local codes = said:gsub(":[^\n]*", "")
        assert.equal("done\ndone\n" .. ("plan.write_refused\n"):rep(5), codes)
        assert.same({}, fs.list(dir .. "/outside"))
    end)

    it("stays closed for a script that replaces its functions or opens a folder", function()
        assert.equal("nil\nfalse\nfalse\nfalse\ntrue\n", output_of [[
            gate.close()
            log.out(tostring(gate.allow) .. "\n")
            gate.closed = function() return false end
            for _, write in ipairs { io.open, io.output, os.remove } do
                log.out(tostring(write(dir .. "/script.lua", "w") ~= nil) .. "\n")
            end
            log.out(tostring(require("dgrun").effect.planning()) .. "\n")
        ]])
    end)

    it("refuses requests that only look like reads", function()
        assert(fs.write(dir .. "/body", "x"))
        local said = output_of [[
            local http, secret = require "host.http", require "host.secret"
            gate.close()
            for _, more in ipairs {
                { body = "x" }, { body_file = dir .. "/body" },
                { body = secret.new("A", "value") }, { method = "HEAD", body = "x" },
                { headers = { ["x-http-method-override"] = "DELETE" } },
                { headers = { ["X-HTTP-Method"] = "DELETE" } },
                { headers = { Accept = "*/*", ["X-Method-Override"] = "PUT" } },
            } do
                more.url = "http://127.0.0.1:1/"
                say(http.request(more))
                say(http.stream(more))
            end
            say(http.request { url = "http://127.0.0.1:1/", headers = { ["X-Method"] = "a" } })
        ]]
        local codes = said:gsub(":[^\n]*", "")
        assert.equal(("plan.write_refused\n"):rep(14) .. "http.connect\n", codes)
    end)

    it("judges the GraphQL document that it sends", function()
        local said = output_of [[
            local session = require("host.fly").session {
                api_url = "http://127.0.0.1:1", machines_url = "http://127.0.0.1:1",
                uiex_url = "http://127.0.0.1:1" }
            gate.close()
            say(session:graphql { document = "mutation { a }", variables = "{}" })
            say(session:graphql { document = "query { a }", variables = "{}" })
            log.out(tostring(pcall(session.graphql, session, { document = "query { a }",
                variables = '{},"query":"mutation { a }"' })) .. "\n")
            log.out(tostring(pcall(session.graphql, session, { document = "query { a }",
                body = '{"query":"mutation { a }"}' })) .. "\n")
        ]]
        local codes = said:gsub(":[^\n]*", "")
        assert.equal("plan.write_refused\nhttp.connect\nfalse\nfalse\n", codes)
    end)

    it("lets SQLite write to no other file", function()
        local said = output_of [[
            local sqlite = require "host.sqlite"
            local db = assert(sqlite.open(dir .. "/a.db"))
            assert(db:exec("CREATE TABLE t(a)"))
            db:close()
            local temp = fs.temp_dir("gate-spec-sqlite")
            gate.close()
            for _, path in ipairs { dir .. "/a.db", temp .. "/b.db" } do
                db = assert(sqlite.open(path))
                say(db:exec("VACUUM INTO '" .. dir .. "/new.db'"))
                say(db:exec("ATTACH '" .. dir .. "/new.db' AS other"))
                say(db:exec("ATTACH ? AS other", { dir .. "/new.db" }))
            end
            say(db:exec("CREATE TABLE t(a)"))
            say(db:exec("VACUUM"))
            db:close()
            fs.remove(temp, { recursive = true })
        ]]
        local codes = said:gsub(":[^\n]*", "")
        assert.equal(("sqlite.read_only\n"):rep(6) .. "done\ndone\n", codes)
        assert.same({ "a.db", "script.lua" }, fs.list(dir))
    end)

    it("runs no filter of a git repository, and writes no trace", function()
        local run = ([[
            set -e; cd %s; git init -q -b main repo; cd repo
            git config user.name a; git config user.email a@example.com
            git config filter.odd.smudge "touch %s/smudged; cat"
            git config filter.odd.clean "touch %s/cleaned; cat"
            git config filter.odd.required true
            echo "*.txt filter=odd" > .gitattributes; echo text > a.txt
            git add -A; git commit -qm first; rm %s/cleaned; sleep 0.01; echo text > a.txt
        ]]):format(dir, dir, dir, dir)
        assert.equal(0, assert(proc.run { argv = { "sh", "-c", run } }).status)
        local script = [[
            local git = require "host.git"
            local repo = dir .. "/repo"
            local temp = fs.temp_dir("gate-spec-git")
            gate.close()
            local head = assert(git.resolve { dir = repo, ref = "HEAD", remote = "origin" })
            local commit = type(head) == "table" and head.commit or head
            local function export()
                return git.export { git_dir = repo .. "/.git", commit = commit,
                    into = temp .. "/into", index = temp .. "/index" }
            end
            fs.mkdir(temp .. "/into")
            say(git.status { dir = repo })
            say(git.changed { dir = repo, from = commit, path = "." })
            say(export())
            say(git.know_filters { dir = repo })
            say(git.status { dir = repo })
            say(git.changed { dir = repo, from = commit, path = "." })
            say(export())
            say(fs.read(temp .. "/into/a.txt"))
            fs.remove(temp, { recursive = true })
        ]]
        local codes = output_of(script, {
            GIT_TRACE = dir .. "/trace1", GIT_TRACE_SETUP = dir .. "/trace2",
            GIT_TRACE2_EVENT = dir .. "/trace3", GIT_TRACE_PACKET = dir .. "/trace4",
        }):gsub(":[^\n]*", "")
        assert.equal(("plan.write_refused\n"):rep(3) .. ("done\n"):rep(5), codes)
        assert.same({ "repo", "script.lua" }, fs.list(dir))
    end)

    it("has no way to native code and to the compiler", function()
        assert.equal("nil nil false\nfalse\nfalse\n", output_of [[
            log.out(("%s %s %s\n"):format(package.loadlib, package.cpath,
                jit.status()))
            package.cpath = "/usr/lib/x86_64-linux-gnu/lua/5.1/?.so"
            log.out(tostring(pcall(require, "lfs")) .. "\n")
            log.out(tostring(pcall(jit.on)) .. "\n")
        ]])
    end)
end)
