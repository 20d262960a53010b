local advice = require "dgrun.run.advice"
local err = require "dgrun.core.err"

local function next_step(fields, planned)
    return advice.next_step(err.new(fields), "dgrun x", planned or false)
end

describe("the advice of an error", function()
    it("is its own hint", function()
        assert.equal("Do this.", next_step { code = "fs.not_found", hint = "Do this." })
    end)

    it("is a correction where that is what helps", function()
        local where = "scripts/x.lua:5"
        for code, text in pairs {
            ["fs.not_found"] = "Create the missing file, or correct the path at scripts/x.lua:5.",
            ["proc.not_found"] = "Create the missing file, or correct the path at scripts/x.lua:5.",
            ["fs.denied"] = "Correct the permissions, or the path at scripts/x.lua:5.",
            ["fs.exists"] = "Remove the existing file or folder, or correct the path at "
                .. "scripts/x.lua:5.",
            ["lua.error"] = "Correct the script at scripts/x.lua:5.",
            ["run.step_result"] = "Correct the script at scripts/x.lua:5.",
            ["script.syntax"] = "Correct the script at scripts/x.lua:5.",
            ["input.missing_option"] =
                "Correct the call at scripts/x.lua:5 or its arguments.",
            ["environment.invalid"] = "Correct the values named above.",
            ["git.unknown_ref"] = "Correct the values named above.",
        } do
            assert.equal(text, next_step { code = code, where = where })
            assert.equal(text, next_step({ code = code, where = where }, true))
        end
        assert.equal("Correct the script.", next_step { code = "lua.error" })
    end)

    it("is to run it again where that may help", function()
        for _, code in ipairs { "fs.failed", "fly.timeout", "proc.exit_status", "command.failed",
            "git.failed", "cancelled", "fly.not_found" } do
            assert.equal("After fixing the cause, run it again (completed steps are skipped): "
                .. "dgrun x", next_step { code = code })
            assert.equal("After fixing the cause: dgrun x", next_step({ code = code }, true))
        end
    end)
end)
