-- The types into which flyctl decodes what Fly answers, and a decoder as strict as Go's: a field of
-- another JSON type is an error, `{}` is no list, and null is nothing where a "?" allows it.
local json = require "dgrun.core.json"
local time = require "host.time"

local M = {}

local function list(of) return { list = of } end
local function map(of) return { map = of } end
local function nodes(of) return { nodes = list(of) } end

local function is_whole(value, least, most)
    return type(value) == "number" and value % 1 == 0 and value >= least and value <= most
end

local scalars = {
    string = function(value) return type(value) == "string" end,
    bool = function(value) return type(value) == "boolean" end,
    float = function(value) return type(value) == "number" end,
    int32 = function(value) return is_whole(value, -2 ^ 31, 2 ^ 31 - 1) end,
    int = function(value) return is_whole(value, -2 ^ 53, 2 ^ 53) end,
    uint64 = function(value) return is_whole(value, 0, 2 ^ 53) end,
    time = function(value) return type(value) == "string" and time.parse(value) ~= nil end,
    object = function(value) return type(value) == "table" and not json.is_array(value) end,
}

local user = { id = "string", name = "string?", email = "string" }

local organization = { id = "string?", internalNumericId = "string?", slug = "string",
    rawSlug = "string?", name = "string?", type = "string?", paidPlan = "bool?",
    billable = "bool?", viewerRole = "string?", remoteBuilderImage = "string?" }

local release = { id = "string", version = "int", stable = "bool?", inProgress = "bool?",
    reason = "string?", description = "string?", status = "string?", imageRef = "string?",
    deploymentStrategy = "string?", evaluationId = "string?", createdAt = "time?",
    metadata = "object?", configDefinition = "object?", user = user }

local image_version = { registry = "string", repository = "string", tag = "string",
    version = "string?", digest = "string?" }

M.app = {
    id = "string", internalNumericId = "int32?", name = "string", status = "string?",
    state = "string?", deployed = "bool?", hostname = "string?", appUrl = "string?",
    version = "int?", network = "string?", platformVersion = "string?", cnameTarget = "string?",
    sharedIpAddress = "string?", organization = organization, currentRelease = release,
    config = { definition = "object" }, imageDetails = image_version,
    secrets = list { id = "string", name = "string", digest = "string", createdAt = "time" },
    services = list { description = "string?", protocol = "string", internalPort = "int",
        hardConcurrency = "int?", softConcurrency = "int?",
        ports = list { port = "int", handlers = list "string" } },
    ipAddresses = nodes { id = "string", address = "string", type = "string", region = "string",
        createdAt = "time", serviceName = "string?",
        network = { name = "string", organization = organization } },
    egressIpAddresses = nodes { id = "string", ip = "string", version = "int", region = "string" },
    machines = nodes { id = "string", name = "string", state = "string", region = "string",
        config = "object", createdAt = "time", app = { name = "string" }, host = { id = "string" },
        ips = nodes { family = "string", kind = "string", ip = "string", maskSize = "int" } },
    limitedAccessTokens = nodes { id = "string", name = "string", expiresAt = "time",
        revokedAt = "time?", user = user },
    role = { name = "string", databases = list { name = "string" },
        users = list { username = "string" } },
    regions = list { code = "string", name = "string" },
    releasesUnprocessed = nodes(release), currentReleaseUnprocessed = release,
    image = { id = "string", digest = "string", ref = "string", compressedSizeFull = "string?",
        config = "object?", manifest = "object?" },
}

M.region = { code = "string", name = "string", latitude = "float?", longitude = "float?",
    gatewayAvailable = "bool?", requiresPaidPlan = "bool?", deprecated = "bool?" }

M.viewer = { id = "string?", email = "string", enablePaidHobby = "bool?" }

M.organization_details = {
    id = "string", internalNumericId = "string", slug = "string", rawSlug = "string",
    name = "string", type = "string", paidPlan = "bool", viewerRole = "string",
    remoteBuilderImage = "string",
    members = { edges = list { cursor = "string", node = user, joinedAt = "time",
        role = "string" } },
    addOns = nodes { id = "string", name = "string?" },
}

M.page_of_apps = { pageInfo = { hasNextPage = "bool", endCursor = "string?" },
    nodes = list(M.app) }

-- The REST APIs.

M.rest_organization = { id = "string", internal_numeric_id = "uint64", slug = "string",
    raw_slug = "string", name = "string", paid_plan = "bool", personal = "bool", billable = "bool",
    billing_status = "string", provisions_beta_extensions = "bool",
    remote_builder_image = "string" }

M.rest_release = { id = "string", version = "int", stable = "bool", in_progress = "bool",
    status = "string", strategy = "string", user = "string", created_at = "time",
    image_ref = "string" }

M.rest_app = { id = "string", name = "string", internal_numeric_id = "uint64", network = "string",
    network_cidr = "string?", status = "string", machine_count = "uint64", volume_count = "uint64",
    organization = { name = "string", slug = "string", internal_numeric_id = "uint64" } }

local check = { name = "string", status = "string", output = "string", updated_at = "time" }

M.machine = {
    id = "string", name = "string", state = "string", region = "string", instance_id = "string",
    private_ip = "string", created_at = "time", updated_at = "time", nonce = "string?",
    host_status = "string", cordoned = "bool", checks = list(check),
    image_ref = { registry = "string", repository = "string", tag = "string?", digest = "string",
        labels = map "string" },
    config = { image = "string", env = map "string", init = "object", guest = "object",
        metadata = map "string", services = list "object", mounts = list "object",
        checks = map "object", restart = "object", auto_destroy = "bool?" },
    events = list { id = "string", type = "string", status = "string", source = "string",
        timestamp = "int", request = { restart_count = "int", exit_event = {
            exit_code = "int", guest_exit_code = "int", guest_signal = "int", signal = "int",
            oom_killed = "bool", requested_stop = "bool", restarting = "bool",
            exited_at = "time" } } },
}

M.lease = { status = "string", data = { nonce = "string", expires_at = "int", owner = "string",
    description = "string", version = "string" } }

M.secrets = { version = "uint64?", secrets = list { name = "string", digest = "string",
    created_at = "time", updated_at = "time" } }

M.volume = { id = "string", name = "string", state = "string", size_gb = "int", region = "string",
    zone = "string", encrypted = "bool", attached_machine_id = "string?",
    attached_alloc_id = "string?", created_at = "time", snapshot_retention = "int",
    auto_backup_enabled = "bool", fstype = "string", host_status = "string" }

M.snapshot = { id = "string", size = "int", volume_size = "int", digest = "string",
    created_at = "time", status = "string", retention_days = "int" }

M.certificate_summary = { hostname = "string", status = "string", configured = "bool",
    acme_requested = "bool", dns_provider = "string", has_custom_certificate = "bool",
    has_fly_certificate = "bool", created_at = "time", updated_at = "time",
    acme_alpn_configured = "bool", acme_dns_configured = "bool", acme_http_configured = "bool",
    ownership_txt_configured = "bool" }

local requirements = { a = list "string", aaaa = list "string", cname = "string",
    acme_challenge = { name = "string", target = "string" },
    ownership = { name = "string?", app_value = "string?", org_value = "string?" } }

M.certificate = { hostname = "string", status = "string", configured = "bool",
    acme_requested = "bool", dns_provider = "string", dns_requirements = requirements,
    certificates = list { source = "string", status = "string", created_at = "time",
        expires_at = "time?", issuer = "string?",
        issued = list { type = "string", expires_at = "time", certificate_authority = "string" } },
    validation = { alpn_configured = "bool", dns_configured = "bool", http_configured = "bool",
        ownership_txt_configured = "bool" },
    validation_errors = list { code = "string", message = "string", remediation = "string",
        timestamp = "time" },
    dns_records = { a = list "string", aaaa = list "string", cname = list "string",
        resolved_addresses = list "string" } }

M.logs = { data = list { id = "string", attributes = { timestamp = "string", message = "string",
    level = "string", instance = "string", region = "string", meta = { instance = "string",
        region = "string", event = { provider = "string" } } } },
    meta = { next_token = "string" } }

M.build = { id = "int", status = "string", wallclock_time_ms = "int" }

M.processes = list { pid = "int", stime = "uint64", rtime = "uint64", command = "string",
    directory = "string", cpu = "uint64", rss = "uint64",
    listen_sockets = list { proto = "string", address = "string" } }

M.list, M.nodes = list, nodes

local decode

local function decode_items(shape, value, path)
    assert(json.is_array(value), path .. " is not a list")
    for i, item in ipairs(value) do
        decode(shape, item, ("%s[%d]"):format(path, i - 1))
    end
end

local function decode_object(shape, value, path)
    assert(type(value) == "table" and not json.is_array(value), path .. " is not an object")
    for name, item in pairs(value) do
        local inner = shape.map or shape[name]
        if inner then
            decode(inner, item, path .. "." .. tostring(name))
        end
    end
end

---Raises an error that names the path of what Go could not decode. What an answer lacks, and what
---the type does not know, is fine; null is fine for objects, lists and types with a "?".
---@param shape string|table
---@param value any of json.decode
---@param path string
function decode(shape, value, path)
    if type(shape) == "string" then
        local kind, optional = shape:match "^(%w+)(%??)$"
        if value ~= json.null or optional == "" then
            assert(scalars[kind](value), ("%s is not %s: %s"):format(path, shape,
                tostring(value)))
        end
    elseif value ~= json.null then
        (shape.list and decode_items or decode_object)(shape.list or shape, value, path)
    end
end

M.decode = decode

return M
