-- Commands as people and shells use them.
local json = require "dgrun.core.json"
local proc = require "host.proc"
local fs = require "host.fs"
local sample = require "support.sample"

local binary = os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe"

local THING = [[
local dg = require "dgrun"
return dg.command {
    description = "Things of an app", default = "list",
    actions = {
        list = {
            description = "the things",
            arguments = { { name = "where", complete = "target", many = true } },
            run = function(input)
                local apps = {}
                for i, target in ipairs(dg.targets(input.where)) do
                    apps[i] = target.app
                end
                if input.json and apps[2] then
                    return apps, dg.err.new { code = "refused.many", msg = "more than one app" }
                end
                return apps
            end,
            show = function(apps) return table.concat(apps, "\n") .. "\n" end,
        },
        change = {
            description = "changes one",
            arguments = { { name = "where", complete = "target", required = true },
                { name = "id", complete = "machine", required = true } },
            rest = "command",
            run = function(input)
                dg.effect.write { kind = "thing.update", target = input.id, before = 1, after = 2,
                    summary = "change " .. input.id,
                    apply = function()
                        if input.id == "bad" then
                            dg.err.raise { code = "thing.bad", msg = "it is bad",
                                hint = "Take another." }
                        end
                    end }
                dg.log(table.concat(input.command or {}, "|"))
            end,
        },
    },
}
]]

local function project()
    local p = sample.new()
    p:write("scripts/thing.lua", THING)
    return p
end

describe("a command", function()
    it("shows what it found, as text or JSON, and a monitor's exit status", function()
        local p = project()
        local result = p:run { "thing", "prod" }
        assert.same({ 0, "draft-app-prod\n", "" }, { result.status, result.stdout, result.stderr })
        result = p:run { "thing", "list", "draft-app", "--json" }
        assert.same({ "draft-app" }, json.decode(result.stdout))
        result = p:run { "thing", "--json" }
        assert.equal(3, result.status)
        assert.same({ "draft-app-prod", "draft-app" }, json.decode(result.stdout))
        assert.equal("dgrun: more than one app\n", result.stderr)
        assert.same({}, json.decode("[" .. p:run({ "history", "--json" }).stdout .. "]"))
    end)

    it("journals what it changes, and can be planned", function()
        local p = project()
        local result = p:run { "plan", "thing", "change", "prod", "7" }
        assert.equal(0, result.status, result.all)
        assert.matches("~ change 7", result.stdout)
        result = p:run { "thing", "change", "prod", "7", "--", "a", "-b" }
        assert.equal(0, result.status, result.all)
        assert.matches("| a|%-b", result.stderr)
        assert.equal("done", json.decode(p:run({ "history", "--json" }).stdout).status)
        result = p:run { "resume" }
        assert.equal(2, result.status)
        result = p:run { "thing", "change", "prod", "bad" }
        assert.equal(1, result.status)
        assert.matches("it is bad", result.stderr)
        assert.matches("Take another", result.stderr)
        result = p:run { "resume" }
        assert.equal(2, result.status)
        assert.matches("is a command", result.stderr)
    end)

    it("refuses wrong words without a traceback", function()
        local p = project()
        for text, words in pairs {
            ["no action 'lost'"] = { "thing", "lost" },
            ["neither an environment nor an environment's "
                .. "app"] = { "thing", "change", "prdo", "7" },
            ["unknown input"] = { "thing", "prod", "--jsno" },
            ["is not a valid app name"] = { "thing", "change", "--app", "../x", "7" },
            ["ID is required"] = { "thing", "change", "prod" },
        } do
            local result = p:run(words)
            assert.equal(2, result.status, result.all)
            assert.matches(text, result.stderr, nil, true)
            assert.is_nil(result.all:find "traceback")
        end
        assert.matches("dgrun thing change WHERE ID", p:run({ "help", "thing", "change" }).stdout)
        assert.matches("list +the things", p:run({ "list" }).stdout)
    end)

    it("is completed by the shells", function()
        local p = project()
        local ok = p:run { "--sandbox", "prod_deploy", "--ref", "v1.2.0" }
        assert.equal(0, ok.status, ok.all)
        local ids = p:run { "complete", "--", "--sandbox", "thing", "change", "prod", "" }
        local id = ids.stdout:match "(%x+)\t[^\n]*, started\n"
        assert.is_string(id, ids.all)
        local script = [[
            eval "$("$DGRUN" completion bash)"
            dgrun() { "$DGRUN" "$@"; }
            for line in 'dgrun thi' 'dgrun thing ' 'dgrun cron_setup --environment=p' \
                "dgrun --sandbox thing change prod ${ID:0:6}"; do
                COMP_LINE=$line COMP_POINT=${#line}
                _dgrun
                echo "${COMPREPLY[*]}"
            done]]
        local result = assert(proc.run { argv = { "bash", "-c", script }, cwd = p.dir,
            env = { DGRUN = binary, ID = id } })
        assert.equal(("thing\nlist change prod stage\nprod\n%s\n"):format(id), result.stdout,
            result.stderr)
    end)
end)
