-- Planted secrets must not be found anywhere but where they are meant to be: in what brings them to
-- Fly, and in the environment of the children that they are given to.
local canaries = require "support.canaries"
local everything = require "support.everything"
local fs = require "host.fs"
local task = require "dgrun.task"
local witness = require "support.witness"

---What is run of each command of dgrun itself; nothing is found that is not here.
local words = {
    complete = { { "complete", "--", "prod_deploy", "--" }, { "complete", "--", "" } },
    completion = { { "completion", "bash" } },
    help = { { "help" }, { "help", "prod_deploy" } },
    history = { { "history" }, { "history", "--json" } },
    list = { { "list" } },
    lock = { { "lock", "hold", "draft-app", "--reason", "a test" }, { "lock", "list" },
        { "lock", "list", "--json" }, { "lock", "release", "draft-app" } },
    plan = { { "--sandbox", "plan", "prod_deploy", "--ref", "v1.2.0" } },
    resume = { { "resume", status = 2 } },
    sandbox = {}, -- a server: it has a test of its own
    show = { { "show" }, { "show", "--json" } },
    version = { { "version" } },
}

---Words of actions whose declaration does not tell enough, by name.
local special = {
}

---What a word of the command line may be.
local function kinds_of(w)
    local kinds = {}
    for _, name in ipairs { "place", "environment" } do
        kinds[name] = function() return "stage" end
    end
    kinds.secret = function() return "GEMINI_API_KEY" end
    kinds.release = function() return "1" end
    kinds.ref = function() return "v1.2.0" end
    function kinds.machine()
        return w:machine "draft-app"
    end
    function kinds.run()
        local id = w:run({ "history", "--json" }).stdout:match '"id":"([^"]+)"'
        return assert(id, "there is no run")
    end
    return kinds
end

local function run_words(w, argv)
    local result = w:run(argv, { stdin = argv.stdin, timeout = argv.timeout })
    assert.equal(argv.status or 0, result.status,
        ("dgrun %s; its words are in tests/e2e/canary_spec.lua\n%s"):format(
            table.concat(argv, " "), result.all))
end

local function run_one(w, one, kinds)
    local name = everything.name(one)
    if special[name] then
        for _, argv in ipairs(special[name](w, kinds)) do
            run_words(w, argv)
        end
        return
    end
    run_words(w, { "--sandbox", "plan", unpack(everything.words(one, kinds)) })
    run_words(w, { "--sandbox", "--trace", unpack(everything.words(one, kinds)) })
    if one.shows then
        local argv = { "--sandbox", unpack(everything.words(one, kinds)) }
        table.insert(argv, #argv - (one.rest and 1 or -1), "--json")
        run_words(w, argv)
    end
end

local function with_witness(body)
    local server = witness.database()
    local w = witness.new { port = server.port }
    body(w, server)
end

local function is_clean(w)
    assert.same({}, w:search_all())
end

describe("planted secrets", function()
    it("would be found in each form, in outputs, files, calls and command lines", function()
        for _, canary in ipairs(canaries.all()) do
            for form, text in pairs(canaries.forms(canary.value)) do
                local found = {}
                canaries.search("x" .. text .. "y", "a text", found)
                assert.is_true(#found > 0 or #text < 8, canary.name .. " as " .. form)
            end
        end
        with_witness(function(w)
            -- A script that gives away what it was told, past dgrun's own ways out.
            w.project:write("scripts/traitor.lua", [[
                local dg = require "dgrun"
                local fs = require "host.fs"
                local url = require("host.secret").from_env "DATABASE_URL"
                local told = dg.proc.run({ argv = { "printenv", "A" }, read_only = true,
                    env = { A = url } }).stdout:gsub("\n", "")
                assert(fs.write("left.txt", told))
                dg.http.post(os.getenv "WITNESS_FLY" .. "/v1/lost", { json = { told = told } })
                dg.proc.run { argv = { "true", told }, env = { B = told } }
                dg.proc.run { argv = { "sleep", "0.2", }, env = { C = url } }
            ]])
            w:run { "--sandbox", "traitor" }
            local all = table.concat(w:search_all(), "\n")
            for _, place in ipairs { "left.txt", "POST /v1/lost", "the arguments of true",
                "the environment of true", "the environment of sleep" } do
                assert.matches(place, all, 1, true)
            end
        end)
    end)

    it("stay where they belong, whatever is run", function()
        with_witness(function(w)
            run_words(w, { "--sandbox", "plan", "prod_deploy", "--ref", "v1.1.0" })
            run_words(w, { "--sandbox", "prod_deploy", "--ref", "v1.1.0" })
            run_words(w, { "--sandbox", "prod_deploy", "--ref", "nosuch", status = 2 })
            run_words(w, { "--sandbox", "stage_deploy", "--ref", "v1.2.0" })
            local found = everything.find(function(argv) return w:run(argv) end)
            local kinds = kinds_of(w)
            for _, word in ipairs(found.words) do
                assert.is_table(words[word], "no words for the command " .. word)
                for _, argv in ipairs(words[word]) do
                    run_words(w, argv)
                end
            end
            for _, one in ipairs(found.scripts) do
                run_one(w, one, kinds)
            end
            assert.is_true(w.brought, "no secret was brought to Fly")
            is_clean(w)
            assert.is_true(w.called.git > 0 and w.called.python3 > 0)
        end)
    end)
end)
