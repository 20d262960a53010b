-- Secrets of an app and their version: docs/fly/machines-api.md, section 8. Values go to the vault.
local answer = require "sandbox.answer"
local clock = require "sandbox.clock"
local json = require "dgrun.core.json"
local world_of = require "sandbox.world"

local M = {}

local function face(name, secret)
    return { name = name, digest = secret.digest, created_at = secret.created_at,
        updated_at = secret.updated_at }
end

local function all(app)
    local secrets = json.array {}
    for name, secret in pairs(app.secrets) do
        secrets[#secrets + 1] = face(name, secret)
    end
    table.sort(secrets, function(a, b) return a.name < b.name end)
    return secrets
end

local function check_version(app, context)
    local wanted = tonumber(context.query.min_version or context.query.version)
    if wanted and wanted > app.secrets_version then
        answer.fail(412, ("min_secrets_version %d is not yet available on this app"):format(wanted))
    end
end

---Sets and removes at once: one new version.
local function write(world, app, values)
    for name, value in pairs(values) do
        if type(name) ~= "string" or not name:match("^[A-Za-z_][A-Za-z0-9_]*$") then
            answer.fail(422, ("%q is not a name of a secret"):format(tostring(name)))
        elseif value ~= json.null and type(value) ~= "string" then
            answer.fail(422, ("the value of %s must be a string"):format(name))
        end
    end
    app.secrets_version = app.secrets_version + 1
    local now = clock.iso(world)
    for name, value in pairs(values) do
        if value == json.null then
            app.secrets[name] = nil
            world.vault:put(app.name, name, app.secrets_version, nil)
        else
            local old = app.secrets[name]
            app.secrets[name] = {
                digest = require("host.digest").fingerprint(value, world.token):sub(1, 16),
                created_at = old and old.created_at or now, updated_at = now,
            }
            world.vault:put(app.name, name, app.secrets_version, value)
        end
    end
    world_of.save(world)
    return app.secrets_version
end

function M.list(_, context)
    check_version(context.app, context)
    return { secrets = all(context.app) }
end

function M.get(_, context)
    check_version(context.app, context)
    local secret = context.app.secrets[context.parameters.name]
    return secret and face(context.parameters.name, secret) or answer.fail(404, "secret not found")
end

function M.set_all(world, context, body)
    if not body or type(body.values) ~= "table" or json.is_array(body.values) then
        answer.fail(422, "values must be an object")
    end
    local version = write(world, context.app, body.values)
    return { secrets = all(context.app), version = version, Version = version }
end

function M.set(world, context, body)
    if not body or type(body.value) ~= "string" then
        answer.fail(422, "value must be a string")
    end
    local name = context.parameters.name
    local version = write(world, context.app, { [name] = body.value })
    local result = face(name, context.app.secrets[name])
    result.version, result.Version = version, version
    return result, 201
end

function M.delete(world, context)
    local version = write(world, context.app, { [context.parameters.name] = json.null })
    return { version = version, Version = version }
end

return M
