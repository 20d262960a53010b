-- What cmake --install puts below a prefix works there, and after the prefix was moved.
local fs = require "host.fs"
local proc = require "host.proc"
local task = require "dgrun.core.task"

local binary = fs.real(os.getenv "DGRUN_BINARY" or "/proc/self/exe")

---@return string prefix
local function install()
    local dir = fs.real(assert(fs.temp_dir "install"))
    task.defer(function() fs.remove(dir, { recursive = true }) end)
    local made = assert(proc.run { argv = { "cmake", "--install", binary:match "^(.*)/",
        "--prefix", dir / "first" } })
    assert.equal(0, made.status, made.stderr)
    local moved = dir / "a second place"
    assert(proc.run { argv = { "mv", dir / "first", moved } })
    return moved
end

local function run(prefix, ...)
    return assert(proc.run { argv = { prefix / "bin/dgrun", ... }, cwd = "/", clean_env = true,
        env = { PATH = os.getenv "PATH", HOME = "/nonexistent",
            ASAN_OPTIONS = os.getenv "ASAN_OPTIONS", LSAN_OPTIONS = os.getenv "LSAN_OPTIONS" } })
end

describe("an installed dgrun", function()
    it("finds its modules beside itself, and says when they are missing", function()
        local prefix = install()
        local modules = {}
        for _, file in ipairs(fs.list(prefix / "lib/dgrun")) do
            modules[#modules + 1] = ("require 'host.%s'"):format(
                (file == "http.so" and "fly" or file:match "^(%a+)%.so$"))
        end
        assert.is_true(#modules >= 7)
        local all = table.concat(modules, "; ") .. "; print 'all are there'"
        local result = run(prefix, "-e", all)
        assert.equal("all are there\n", result.stdout, result.stderr)

        assert(fs.remove(prefix / "lib", { recursive = true }))
        assert.equal(0, run(prefix, "version").status)
        result = run(prefix, "-e", all)
        assert.equal(1, result.status)
        assert.matches("dgrun was copied without its modules: the folder " .. prefix
            .. "/lib/dgrun is missing. Install dgrun again, or copy that folder too",
            result.stderr, 1, true)
        assert.is_nil(result.stderr:find("traceback", 1, true))
    end)

    it("completes words in each shell", function()
        local prefix = install()
        for path, text in pairs {
            ["bash-completion/completions/dgrun"] = "complete %-o",
            ["zsh/site-functions/_dgrun"] = "^#compdef dgrun\n",
            ["fish/vendor_completions.d/dgrun.fish"] = "complete %-c dgrun",
        } do
            assert.matches(text, assert(fs.read(prefix / "share" / path)))
        end
    end)
end)
