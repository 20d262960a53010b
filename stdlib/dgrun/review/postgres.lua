-- A schema or a database in a PostgreSQL server for each review app, with its own role. A comment
-- on the role names its owner; roles without the comment are not changed.
local check = require "dgrun.core.check"
local dburl = require "host.dburl"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local http = require "dgrun.http"
local secret = require "host.secret"
local task = require "dgrun.core.task"

local M = {}

local ways = { schema = true, database = true }
local CONNECT_SECONDS = 15
---PostgreSQL truncates longer names:
---https://www.postgresql.org/docs/current/sql-syntax-lexical.html
local LONGEST = 63

local LOOK = [[
SELECT r.rolname AS role, r.rolcanlogin AS login, shobj_description(r.oid, 'pg_authid') AS mark,
    (SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = $1) AS schema_owner,
    (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = $1) AS database_owner,
    (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS super
FROM (SELECT 1) AS one LEFT JOIN pg_roles r ON r.rolname = $1]]

local function quoted(name)
    return '"' .. name:gsub('"', '""') .. '"'
end

local function literal(text)
    return "'" .. text:gsub("'", "''") .. "'"
end

---@param app string
---@return string
local function identifier(app)
    local name = app:gsub("-", "_")
    if not name:match("^[a-z][a-z0-9_]*$") or #name > LONGEST then
        err.raise { code = "input.invalid", op = "review.postgres",
            msg = ("'%s' does not give a valid schema name, which has a-z, 0-9, and _, and at "
                .. "most %d characters"):format(app, LONGEST) }
    end
    return name
end

local function connected(server, f)
    local url = check(dburl.libpq(server))
    local connection = task.timeout(CONNECT_SECONDS, function()
        return check(require("host.postgres").connect { url = url })
    end)
    local result = { pcall(f, function(sql, parameters)
        return check(connection:query(sql, parameters))
    end, connection) }
    connection:close()
    if not result[1] then
        error(result[2], 0)
    end
    return unpack(result, 2)
end

---@class dgrun.review.postgres.one
---@field app string
---@field server string|userdata
---@field as "schema"|"database"
---@field name string of its role, schema, database
---@field password userdata
---@field mark string comment of the role
---@field url userdata

local function url_of(one, place, driver)
    local options = http.query(place.options)
    local host = place.host or ""
    host = host:find(":", 1, true) and "[" .. host .. "]" or host
    local behind = ("@%s%s/%s%s"):format(host, place.port and ":" .. place.port or "",
        one.as == "database" and one.name or http.escape(place.database or ""),
        options ~= "" and "?" .. options or "")
    local url = ("postgresql%s://%s:"):format(driver and "+" .. driver or "", one.name)
        .. one.password .. behind
    return url:rename("DATABASE_URL of " .. one.app)
end

---The password can be derived from the server's URL; the mark shows which password was set.
---@return dgrun.review.postgres.one
local function one_of(opts, app)
    local digest = require "host.digest"
    local place = check(dburl.parse(opts.server))
    if place.dialect ~= "postgresql" then
        err.raise { code = "input.invalid", op = "review.postgres",
            msg = "review.postgres: server must be the URL of a PostgreSQL server" }
    end
    local one = { app = app, server = opts.server, as = opts.as or "schema",
        name = identifier(app) }
    one.password = secret.new("password of " .. one.name,
        check(digest.fingerprint("review " .. app, opts.server)))
    one.mark = ("dgrun review app %s, key %s"):format(app,
        check(digest.fingerprint("mark", one.password)):sub(1, 8))
    one.url = url_of(one, place, opts.driver or place.driver)
    return one
end

local function is_ours(one, mark)
    local start = ("dgrun review app %s, "):format(one.app)
    return mark ~= nil and mark:sub(1, #start) == start
end

---The existing role, schema, and database; refuses objects that belong to someone else.
local function look(one, query)
    local found = query(LOOK, { one.name })[1]
    local what = found.role and not is_ours(one, found.mark) and "role"
        or found.schema_owner and found.schema_owner ~= one.name and "schema"
        or found.database_owner and found.database_owner ~= one.name and "database"
    if what then
        err.raise { code = "refused.not_ours", op = "review.postgres",
            msg = ("the %s %s was not created for review app %s: leaving it unchanged"):format(
                what, one.name, one.app),
            hint = "Change the pattern in environments.yaml, or the server." }
    end
    local owner = one.as == "schema" and found.schema_owner or found.database_owner
    return { role = found.role ~= nil, login = found.login == "t", mark = found.mark,
        place = owner ~= nil, super = found.super == "t" }
end

local function transaction(query, statements)
    query "BEGIN"
    query "SET LOCAL lock_timeout = '10s'"
    for _, sql in ipairs(statements) do
        query(sql)
    end
    query "COMMIT"
end

---The statements that create or update the role.
local function role_statements(one, found, connection)
    local role = quoted(one.name)
    local hash = check(connection:scram(one.name, one.password))
    local list = {}
    if not found.role then
        list[1] = ("CREATE ROLE %s NOSUPERUSER NOCREATEDB NOCREATEROLE"):format(role)
    end
    list[#list + 1] = ("ALTER ROLE %s LOGIN PASSWORD %s"):format(role, literal(hash))
    list[#list + 1] = ("COMMENT ON ROLE %s IS %s"):format(role, literal(one.mark))
    if not found.super then
        -- Only a member of a role may assign objects to the role.
        list[#list + 1] = ("GRANT %s TO CURRENT_USER"):format(role)
    end
    return list
end

local function create(one)
    return connected(one.server, function(query, connection)
        local found = look(one, query)
        local name = quoted(one.name)
        local statements = role_statements(one, found, connection)
        if one.as == "schema" then
            local database = query("SELECT current_database() AS name")[1].name
            statements[#statements + 1] = ("CREATE SCHEMA IF NOT EXISTS %s AUTHORIZATION %s")
                :format(name, name)
            statements[#statements + 1] = ("ALTER ROLE %s IN DATABASE %s SET search_path = %s")
                :format(name, quoted(database), name)
        end
        transaction(query, statements)
        if one.as == "database" then
            -- PostgreSQL does not create databases within a transaction.
            if not found.place then
                query(("CREATE DATABASE %s OWNER %s"):format(name, name))
            end
            query(("REVOKE ALL ON DATABASE %s FROM PUBLIC"):format(name))
        end
    end)
end

local function drop(one)
    return connected(one.server, function(query)
        local found, name = look(one, query), quoted(one.name)
        if found.role then
            -- Clients must not reconnect during the drop.
            query(("ALTER ROLE %s NOLOGIN"):format(name))
            query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1",
                { one.name })
        end
        if one.as == "database" then
            query(("DROP DATABASE IF EXISTS %s WITH (FORCE)"):format(name))
        end
        local statements = {}
        if one.as == "schema" then
            statements[1] = ("DROP SCHEMA IF EXISTS %s CASCADE"):format(name)
        end
        if found.role then
            statements[#statements + 1] = ("DROP OWNED BY %s CASCADE"):format(name)
            statements[#statements + 1] = ("DROP ROLE %s"):format(name)
        end
        transaction(query, statements)
    end)
end

local function found_of(one)
    return connected(one.server, function(query) return look(one, query) end)
end

---@param one dgrun.review.postgres.one
---@return dgrun.review.database
local function database_of(one)
    local database = {}
    function database.create()
        local found = found_of(one)
        local what = ("%s %s"):format(one.as, one.name)
        if found.place and found.login and found.mark == one.mark then
            effect.note(what .. " exists")
            return one.url
        end
        local again = found.place and found.role
        effect.write {
            kind = "review.database." .. (again and "update" or "create"), target = one.app,
            summary = again and ("reset the password of role %s"):format(one.name)
                or ("create %s with its own role"):format(what),
            before = again and { role = one.name } or nil,
            after = { role = one.name, [one.as] = not again and one.name or nil },
            apply = function() create(one) end,
        }
        return one.url
    end
    function database.drop()
        local found = found_of(one)
        local what = ("%s %s"):format(one.as, one.name)
        if not found.role and not found.place then
            effect.note(what .. " does not exist")
            return
        end
        effect.write {
            kind = "review.database.drop", target = one.app, before = { [one.as] = one.name },
            summary = ("drop %s and its role"):format(what),
            apply = function() drop(one) end,
        }
    end
    return database
end

---@param opts dgrun.review.postgres
---@return dgrun.review.databases
function M.new(opts)
    check.options(opts, { server = "value", as = "string?", driver = "string?" },
        "review.postgres")
    check.known(opts.as or "schema", ways, "review.postgres: unknown value of as:", "input.invalid")
    return function(app) return database_of(one_of(opts, app)) end
end

return M
