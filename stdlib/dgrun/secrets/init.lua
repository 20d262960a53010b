-- Secrets of an app. Fly's digests are opaque, so for each secret that dgrun set, the store keeps a
-- keyed fingerprint of the value and the digest that Fly returned: unchanged means that both match.
local app_secrets = require "dgrun.fly.secrets"
local check = require "dgrun.core.check"
local dotenv = require "host.dotenv"
local effect = require "dgrun.run.effect"
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local given = require "dgrun.project.environment_options"
local json = require "dgrun.core.json"
local state = require "dgrun.secrets.state"
local tables = require "dgrun.core.table"

local M = {}

---@param opts {app: string}
---@return {name: string, digest: string, created_at?: string, updated_at?: string}[] sorted by
---  name; values cannot be read
function M.list(opts)
    check.options(opts, { app = "string" }, "secrets.list")
    return app_secrets.list(opts.app)
end

---How an environment declares its secrets.
---@param secrets table<string, any> `secrets` of a dgrun.environment
---@return table<string, "required"|"optional"|"literal">? # by name; nil for a table that is not
---  from an environment
function M.declared(secrets)
    return environment.declared(secrets)
end

---The version of the app's secrets that dgrun or flyctl set last; machines must have at least this
---version.
---@param app string
---@return integer?
function M.version(app)
    return app_secrets.version(app)
end

---The version that updated machines will get; in a plan that sets secrets of the app, "known after
---apply".
---@param app string
---@return integer?
function M.coming_version(app)
    return app_secrets.coming_version(app)
end

local function joined(...)
    local names = json.array {}
    for _, list in ipairs { ... } do
        for _, name in ipairs(list) do
            names[#names + 1] = name
        end
    end
    table.sort(names)
    return names
end

---@class dgrun.secrets.diff.options
---@field app string
---@field secrets table<string, userdata|string> those of an environment, or any table by name

---@param whole boolean also look at secrets of the app that `opts.secrets` does not name
local function change_of(opts, op, whole)
    local values = tables.merged(environment.complete(opts.secrets))
    state.check_values(values, op)
    local there = require("dgrun.secrets.write").read(opts.app)
    local seen = {}
    for name, one in pairs(there) do
        seen[name] = (whole or values[name] ~= nil) and one or nil
    end
    local diff = state.of(opts.app, values, environment.declared(opts.secrets), seen)
    return { app = opts.app, diff = diff, values = values, there = there, unset = joined(),
        set = joined(diff.new, diff.changed, diff.unknown) }
end

local function make(change, apply)
    local version, machines = require("dgrun.secrets.change").make(change, apply)
    local diff = change.diff
    return { app = change.app, version = version, set = change.set, unchanged = diff.unchanged,
        new = diff.new, changed = diff.changed, unknown = diff.unknown, extra = diff.extra,
        kept = diff.kept, unset = change.unset, machines = machines }
end

---What `secrets.sync` would do. Reads only.
---@param opts dgrun.secrets.diff.options
---@return dgrun.secrets.diff
function M.diff(opts)
    check.options(opts, { app = "string", secrets = "table" }, "secrets.diff")
    return change_of(opts, "secrets.diff", true).diff
end

local function note(list, text)
    if #list > 0 then
        effect.note(text:format(format.list(list)))
    end
end

local function report(diff, prune)
    note(diff.unchanged, "unchanged: %s")
    local by = { others = {}, never = {} }
    for _, entry in ipairs(diff.names) do
        if entry.reason then
            table.insert(by[entry.reason], entry.name)
        end
    end
    note(by.others, "set by someone else since dgrun set them, so their values are unknown: %s")
    note(by.never, "not set by this dgrun, so their values are unknown: %s")
    note(diff.kept, ("set on %s, but no source has a value; leaving unchanged: %%s"):format(
        diff.app))
    note(prune and {} or diff.extra,
        ("set on %s, but not declared; leaving unchanged (prune = true removes): %%s"):format(
            diff.app))
end

---An accidentally empty table must not remove every secret of the app.
local function refuse_to_empty(diff)
    if #diff.extra > 0 and #diff.extra == #diff.names then
        err.raise { code = "secrets.refused", op = "secrets.sync",
            msg = ("secrets.sync: no secrets are declared, and prune would remove everything from "
                .. "%s (%s)"):format(diff.app, format.count(#diff.extra, "secret")),
            hint = "secrets.unset removes secrets by name." }
    end
end

---@class dgrun.secrets.sync
---@field environment? dgrun.environment gives `app` and `secrets`
---@field source? dgrun.git.source ignored
---@field app? string
---@field secrets? table<string, userdata|string> those of an environment, or any table by name of
---  sealed values, or plain text for literals
---@field prune? boolean remove secrets of the app that are not declared
---@field apply? boolean update the machines now, instead of leaving it to the deploy that follows

---@class dgrun.secrets.result
---@field app string
---@field version? integer of the app's secrets now
---@field set string[] secrets that were set: `new`, `changed`, and `unknown`
---@field unchanged string[]
---@field new string[] were not on the app
---@field changed string[] had another value
---@field unknown string[] had a value that dgrun did not set, and were set again
---@field extra string[] are (with `prune`: were) on the app, but are not declared
---@field kept string[] are on the app and declared as optional, but no source has a value
---@field unset string[] secrets that were removed
---@field machines? string[] with `apply`: ids of the updated machines

---Makes the secrets of an app match the declaration: in one request, sets all secrets that are new
---or not known to be unchanged, and with `prune` removes undeclared secrets. Then checks Fly's
---digests. Without `apply` the change is staged: machines get it with the next deploy.
---Errors: secrets.not_set, secrets.refused, fly.*
---@param opts dgrun.secrets.sync
---@return dgrun.secrets.result
function M.sync(opts)
    opts = given.fill(opts, { app = given.app, secrets = given.secrets }, "secrets.sync")
    check.options(opts, { app = "string", secrets = "table", prune = "boolean?",
        apply = "boolean?" }, "secrets.sync")
    local change = change_of(opts, "secrets.sync", true)
    if opts.prune then
        refuse_to_empty(change.diff)
        change.unset = change.diff.extra
    end
    report(change.diff, opts.prune)
    return make(change, opts.apply)
end

---Sets secrets and leaves all other secrets unchanged.
---@param opts {app: string, secrets: table<string, userdata|string>, apply?: boolean}
---@return dgrun.secrets.result # `extra`, `kept` and `unset` are empty
function M.set(opts)
    check.options(opts, { app = "string", secrets = "table", apply = "boolean?" }, "secrets.set")
    local change = change_of(opts, "secrets.set", false)
    note(change.diff.unchanged, "unchanged: %s")
    return make(change, opts.apply)
end

---@class dgrun.secrets.unset
---@field app string
---@field names string[]
---@field secrets? table<string, any> those of an environment: removing a required secret
---  is refused
---@field apply? boolean update the machines now

---@class dgrun.secrets.unset.result
---@field app string
---@field version? integer
---@field unset string[] secrets that were removed
---@field absent string[] names that were not set
---@field machines? string[] with `apply`: ids of the updated machines

---Removes secrets. Names that are not set are not an error.
---Errors: secrets.not_set, secrets.refused, fly.*
---@param opts dgrun.secrets.unset
---@return dgrun.secrets.unset.result
function M.unset(opts)
    check.options(opts, { app = "string", names = "table", secrets = "table?",
        apply = "boolean?" }, "secrets.unset")
    return require("dgrun.secrets.change").unset(opts)
end

---Where each secret of an environment comes from: the source that provides it, the sources it
---overrides, the rules it breaks. Reads all sources; never returns a value. dg.ui.secrets.where
---formats the result.
---@param where string|dgrun.environment|dgrun.target
---@return dgrun.secrets.where data
---@return dgrun.err? problem what is missing, invalid, or unreadable, if anything
function M.where(where)
    return require("dgrun.secrets.where").of(where)
end

---Determines which settings the application requires: the fields of its pydantic class, read by the
---application's own Python without side effects. Raises secrets.undeclared_setting, with `names`,
---for required settings that no secret, no literal, and no [env] entry of the fly.toml provides.
---When the settings cannot be determined, prints a note, and `asked` is false.
---@param opts dgrun.secrets.required_by
---@return dgrun.secrets.requirements
function M.required_by(opts)
    return require("dgrun.secrets.required_by").compare(opts)
end

---Runs a local command with the secrets of an environment in its process environment. The command
---gets dgrun's standard input; its output is masked unless it is a terminal. `dgrun secrets run`.
---@param opts dgrun.secrets.run.options
---@return dgrun.secrets.run.result? result nil in a plan, and when the command could not be started
---@return dgrun.err? problem how the command failed; dgrun exits with `exit_status`
function M.run(opts)
    return require("dgrun.secrets.run").run(opts)
end

---From now on, masks the values of all sources of these targets' environments in dgrun's output,
---and notes each source that cannot be opened. For the output of machines, which know the values
---too.
---@param where dgrun.target|dgrun.target[]
function M.mask(where)
    require("dgrun.secrets.where").mask(where)
end

---Sets the secrets of NAME=value lines, as `fly secrets import` reads them.
---@param opts {app: string, text: string|userdata, apply?: boolean}
---@return dgrun.secrets.result
function M.import(opts)
    check.options(opts, { app = "string", text = "value", apply = "boolean?" }, "secrets.import")
    local secrets = {}
    for _, entry in ipairs(check(dotenv.parse(opts.text, "secrets.import"))) do
        secrets[entry.name] = entry.value
    end
    return M.set { app = opts.app, secrets = secrets, apply = opts.apply }
end

---The secrets of an app and the declared secrets, side by side. Reads only, and no values.
---@param opts {app: string, secrets?: table<string, any>} secrets: those of an environment
---@return dgrun.secrets.overview
function M.overview(opts)
    check.options(opts, { app = "string", secrets = "table?" }, "secrets.overview")
    return require("dgrun.secrets.state").overview(opts.app,
        opts.secrets and environment.declared(opts.secrets) or {})
end

---Values from a person: prompted for at the terminal without echo, from files, or from standard
---input.
---@param opts dgrun.secrets.values.options
---@return table<string, userdata> # sealed, by name
function M.values(opts)
    return require("dgrun.secrets.values").read(opts)
end

---Refuses command-line arguments that contain a value, NAME=value, without repeating the value.
---@param words string[]
function M.refuse_assignments(words)
    require("dgrun.secrets.values").refuse_assignments(words)
end

---Compares the secrets of two environments by names and fingerprints, never by values. Reads only.
---@param opts dgrun.secrets.compare.options
---@return dgrun.secrets.comparison
function M.compare(opts)
    return require("dgrun.secrets.compare").of(opts)
end

return M
