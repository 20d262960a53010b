-- Secrets of an app. Fly's digests are opaque, so the store keeps, for each secret that dgrun set,
-- a keyed fingerprint of the value and the digest that Fly answered: unchanged means both match.
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
---@return table<string, "required"|"optional"|"literal">? # by name; nil for other tables
function M.declared(secrets)
    return environment.declared(secrets)
end

---The version of the app's secrets that dgrun or flyctl set last; machines must see at least this
---one.
---@param app string
---@return integer?
function M.version(app)
    return app_secrets.version(app)
end

---The version that machines get from here on: in a plan that sets secrets of the app it is known
---after apply.
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
---@field secrets table<string, userdata|string> those of an environment, or any by name

---@param whole boolean names that are not among them count too
local function change_of(opts, op, whole)
    local values = {}
    for name, value in pairs(environment.complete(opts.secrets)) do
        values[name] = value
    end
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

local function tell(diff, prune)
    note(diff.unchanged, "unchanged: %s")
    local by = { others = {}, never = {} }
    for _, entry in ipairs(diff.names) do
        if entry.reason then
            table.insert(by[entry.reason], entry.name)
        end
    end
    note(by.others, "set by someone else since dgrun set them, so their values are unknown: %s")
    note(by.never, "set, but not by this dgrun, so that it cannot tell the value: %s")
    note(diff.kept, ("on %s, while no source has a value; left alone: %%s"):format(diff.app))
    note(prune and {} or diff.extra,
        ("on %s, but not declared; left alone (prune = true removes): %%s"):format(diff.app))
end

---A table that came out empty by mistake must not empty the app.
local function refuse_to_empty(diff)
    if #diff.extra > 0 and #diff.extra == #diff.names then
        err.raise { code = "secrets.refused", op = "secrets.sync",
            msg = ("secrets.sync: no secret is declared, and prune would remove all %d of %s")
                :format(#diff.extra, diff.app),
            hint = "secrets.unset removes secrets by name." }
    end
end

---@class dgrun.secrets.sync
---@field environment? dgrun.environment gives `app` and `secrets`
---@field source? dgrun.git.source is not looked at
---@field app? string
---@field secrets? table<string, userdata|string> those of an environment, or any by name: sealed
---  values, or plain text for literals
---@field prune? boolean remove what is on the app and not declared
---@field apply? boolean update the machines now, instead of leaving it to the deploy that follows

---@class dgrun.secrets.result
---@field app string
---@field version? integer of the app's secrets now
---@field set string[] what was set: those of `new`, `changed` and `unknown`
---@field unchanged string[]
---@field new string[] were not on the app
---@field changed string[] were there with another value
---@field unknown string[] were there with a value that dgrun did not set: set again
---@field extra string[] are on the app, or with `prune` were there, but are not declared
---@field kept string[] are on the app and declared as optional, but no source has a value
---@field unset string[] what was removed
---@field machines? string[] with `apply`: ids of those that were updated

---Makes the secrets of an app those that are declared: sets what is new or not known to be the
---same, all at once, with the removal of what `prune` removes. Fly's digests are read again behind
---it. Without `apply` it is staged: the deploy that follows brings it to the machines.
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
    tell(change.diff, opts.prune)
    return make(change, opts.apply)
end

---Sets secrets and says nothing of others.
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
---@field secrets? table<string, any> those of an environment: what it requires is refused
---@field apply? boolean update the machines now

---@class dgrun.secrets.unset.result
---@field app string
---@field version? integer
---@field unset string[] what was removed
---@field absent string[] what was not there
---@field machines? string[] with `apply`: ids of those that were updated

---Removes secrets; those that are not there are fine.
---Errors: secrets.not_set, secrets.refused, fly.*
---@param opts dgrun.secrets.unset
---@return dgrun.secrets.unset.result
function M.unset(opts)
    check.options(opts, { app = "string", names = "table", secrets = "table?",
        apply = "boolean?" }, "secrets.unset")
    return require("dgrun.secrets.unset").carry_out(opts)
end

---Where each secret of an environment comes from: which source gives it, what that hides, which
---rules it breaks. Asks all sources; never tells a value. dgrun.ui.secrets_where makes it text.
---@param where string|dgrun.environment|dgrun.place
---@return dgrun.secrets.where data
---@return dgrun.err? problem what is missing, broken or unreadable, if anything is
function M.where(where)
    return require("dgrun.secrets.where").of(where)
end

---Asks the application which settings it requires: the fields of its pydantic class, by the
---application's own Python, which changes nothing. Raises secrets.undeclared_setting, with `names`,
---for those that neither a secret nor a literal nor [env] of its fly.toml gives. An application
---that cannot be asked is a note, and `asked` is false.
---@param opts dgrun.secrets.required_by
---@return dgrun.secrets.requirements
function M.required_by(opts)
    return require("dgrun.secrets.required_by").compare(opts)
end

---Runs a command of this machine with the secrets of an environment in its process environment. It
---has dgrun's standard input; its output is masked unless it has a terminal. `dgrun secrets run`.
---@param opts dgrun.secrets.run.options
---@return dgrun.secrets.run.result? result nil in a plan, and when it could not be started
---@return dgrun.err? problem what is wrong with how it ended; `exit_status` is that of dgrun
function M.run(opts)
    return require("dgrun.secrets.run").run(opts)
end

---Masks the values of all sources of these places' environments in what is printed from here on,
---and notes each source that cannot be opened. For what machines print: they know the values too.
---@param where dgrun.place|dgrun.place[]
function M.mask(where)
    require("dgrun.secrets.mask").mask(where)
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

---What is on an app, beside what is declared. Reads only, and no values.
---@param opts {app: string, secrets?: table<string, any>} secrets: those of an environment
---@return dgrun.secrets.overview
function M.overview(opts)
    check.options(opts, { app = "string", secrets = "table?" }, "secrets.overview")
    return require("dgrun.secrets.state").overview(opts.app,
        opts.secrets and environment.declared(opts.secrets) or {})
end

---Values that a person gives: asked for at the terminal without echo, from files, from standard
---input.
---@param opts dgrun.secrets.values.options
---@return table<string, userdata> # sealed, by name
function M.values(opts)
    return require("dgrun.secrets.values").read(opts)
end

---Refuses words of a command line that carry a value, NAME=value, and does not repeat it.
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
