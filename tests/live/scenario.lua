-- What the service is asked: once around the life of an app, and what it refuses.
local task = require "dgrun.core.task"

local M = {}

M.IMAGE = "docker.io/library/busybox:latest"

local SLEEP, EXIT = { "sleep", "600" }, { "sh", "-c", "exit 3" }

---What a local Fly needs to know of the image.
M.behaviour = { seconds = 600, stop_seconds = 0.5, commands = {
    [table.concat(EXIT, " ")] = { exit_code = 3, seconds = 0.2 } },
    exec = { stdout = "hello\n" } }

---@param s live.service
local function app(s)
    local _, status = s:ask("an app that does not exist", "GET", s.path)
    if status ~= 404 and status ~= 403 then
        error(("the app %s exists already, or cannot be looked for (status %d): give another name")
            :format(s.app, status), 0)
    end
    s:ask("a token that is unknown", "GET", s.path, nil, { stranger = true })
    s:ask("create the app", "POST", "/v1/apps?wait=true", { name = s.app, org_slug = s.org })
    assert(s.created, "the app was not created")
    s:ask("create it again", "POST", "/v1/apps?wait=true", { name = s.app, org_slug = s.org })
    s:ask("the app", "GET", s.path)
    s:ask("its addresses", "GET", s.path .. "/ip_assignments")
    s:ask("an address of no kind", "POST", s.path .. "/ip_assignments", { type = "v5" })
    s:ask("a token for deploys", "POST", s.path .. "/deploy_token", { expiry = "1h" })
end

local function graphql(s)
    s:graphql("GraphQL: who asks", "{ viewer { __typename ... on User { id email "
        .. "enablePaidHobby } ... on Macaroon { email } } }")
    s:graphql("GraphQL: the organization", [[query($slug: String!) { organization(slug: $slug) { id
        internalNumericId slug rawSlug name type paidPlan billable viewerRole remoteBuilderImage
        } }]], { slug = s.org })
    s:graphql("GraphQL: the regions", [[{ nearestRegion(wireguardGateway: false) { code name }
        platform { requestRegion regions { code name latitude longitude gatewayAvailable
        requiresPaidPlan deprecated } } }]])
    s:graphql("GraphQL: the app", [[query($name: String!) { app(name: $name) { id internalNumericId
        name hostname appUrl deployed status state version network platformVersion cnameTarget
        sharedIpAddress organization { id slug paidPlan internalNumericId } role { name }
        currentRelease { id version status inProgress createdAt metadata config { definition } }
        currentReleaseUnprocessed { id version status imageRef configDefinition createdAt }
        config { definition } services { description protocol internalPort }
        imageDetails { registry repository tag version digest }
        ipAddresses { nodes { id address type region createdAt serviceName
            network { name organization { slug } } } }
        egressIpAddresses { nodes { id ip version region } }
        machines { nodes { id name config state region createdAt host { id } } }
        limitedAccessTokens { nodes { id name expiresAt revokedAt } }
        releasesUnprocessed(first: 5) { nodes { id version description reason status imageRef
            stable inProgress createdAt user { id email name } } }
        secrets { id name digest createdAt } } }]], { name = s.app })
    s:graphql("GraphQL: an app that does not exist", 'query($name: String!) { app(name: $name) '
        .. "{ id } }", { name = s.app .. "-none" })
    s:graphql("GraphQL: the newest of an image", [[query($image: String!) {
        latestImageDetails(image: $image) { registry repository tag version digest } }]],
        { image = s.app .. ":latest" })
    s:graphql("GraphQL: a field that does not exist", "{ viewer { nosuch } }")
end

local function secrets(s)
    local path = s.path .. "/secrets"
    s:ask("set secrets", "POST", path, { values = { A = "1", B = "2" } })
    s:ask("the secrets", "GET", path)
    s:ask("remove a secret", "DELETE", path .. "/B")
    s:ask("a secret that does not exist", "GET", path .. "/NONE")
    s:ask("secrets of a version to come", "GET", path .. "?min_version=999999")
end

local function volumes(s)
    local path = s.path .. "/volumes"
    local volume = s:ask("create a volume", "POST", path, { name = "data", size_gb = 1,
        region = "ams" })
    if type(volume) ~= "table" or not volume.id then
        return
    end
    local own = path .. "/" .. volume.id
    s:ask("the volumes", "GET", path)
    s:ask("its snapshots", "GET", own .. "/snapshots")
    s:ask("make a volume smaller", "PUT", own .. "/extend", { size_gb = 0 })
    s:ask("destroy the volume", "DELETE", own)
    s:ask("a volume that does not exist", "GET", path .. "/vol_none")
end

local function certificates(s)
    local path, host = s.path .. "/certificates", "www." .. s.app .. ".example.com"
    s:ask("the certificates of none", "GET", path)
    s:ask("ask for a certificate", "POST", path .. "/acme", { hostname = host })
    s:ask("ask for it again", "POST", path .. "/acme", { hostname = host })
    s:ask("the certificates", "GET", path)
    s:ask("the certificate", "GET", path .. "/" .. host)
    s:ask("check the certificate", "POST", ("%s/%s/check"):format(path, host))
    s:ask("remove the certificate", "DELETE", path .. "/" .. host)
end

local function config(s, command, more)
    local all = { image = s.image, init = { exec = command },
        guest = { cpu_kind = "shared", cpus = 1, memory_mb = 256 }, restart = { policy = "no" } }
    for name, value in pairs(more or {}) do
        all[name] = value
    end
    return all
end

local function refusals(s, path)
    local function create(step, fields, body)
        body = body or {}
        body.config, body.skip_launch = config(s, SLEEP, fields), true
        s:ask(step, "POST", path, body)
    end
    create("an object where a list belongs", { services = {} })
    create("a field that does not exist", { nosuch = true })
    create("a text where a number belongs", { guest = { cpus = "1" } })
    create("memory that cannot be", { guest = { cpu_kind = "shared", cpus = 1, memory_mb = 100 } })
    create("a schedule that does not exist", { schedule = "fortnightly" })
    create("an image that does not exist", { image = "registry.fly.io/" .. s.app .. ":none" })
    create("a region that does not exist", {}, { region = "nowhere" })
    create("secrets that are not there yet", {}, { min_secrets_version = 999999 })
    s:ask("no configuration", "POST", path, {})
    s:ask("a machine that does not exist", "GET", path .. "/00000000000000")
end

---Waits for a state; what it answered is recorded as the step.
local function reach(s, own, state)
    s.waits = s.waits + 1
    s:ask(("wait %d, until it is %s"):format(s.waits, state), "GET",
        ("%s/wait?state=%s&timeout=60"):format(own, state))
end

local function leases(s, own)
    s:ask("no lease", "GET", own .. "/lease")
    local lease = s:ask("take a lease", "POST", own .. "/lease?ttl=60")
    local nonce = type(lease) == "table" and type(lease.data) == "table" and lease.data.nonce
    s:ask("the lease", "GET", own .. "/lease")
    s:ask("take it again", "POST", own .. "/lease?ttl=60")
    s:ask("a change without the nonce", "POST", own .. "/cordon")
    s:ask("metadata without the nonce", "POST", own .. "/metadata/live", { value = "1" })
    s:ask("a change with the nonce", "POST", own .. "/uncordon", nil, { nonce = nonce or nil })
    s:ask("give the lease back", "DELETE", own .. "/lease", nil, { nonce = nonce or nil })
end

local function life(s, path)
    local machine = s:ask("create a machine", "POST", path, { name = "sleeper",
        config = config(s, SLEEP), skip_launch = true })
    if type(machine) ~= "table" or not machine.id then
        return
    end
    local own = path .. "/" .. machine.id
    reach(s, own, "stopped")
    s:ask("a name that is taken", "POST", path, { name = "sleeper", config = config(s, SLEEP),
        skip_launch = true })
    s:ask("start it", "POST", own .. "/start")
    reach(s, own, "started")
    s:ask("start it again", "POST", own .. "/start")
    s:ask("the machine", "GET", own)
    s:ask("the machines", "GET", path)
    s:ask("its metadata", "GET", own .. "/metadata")
    s:ask("its processes", "GET", own .. "/ps")
    s:ask("a command in it", "POST", own .. "/exec",
        { command = { "echo", "hello" }, timeout = 20 })
    leases(s, own)
    s:ask("destroy it while it runs", "DELETE", own)
    s:ask("update it", "POST", own, { config = config(s, SLEEP, { env = { A = "1" } }) })
    s:ask("update it during the update", "POST", own, { config = config(s, SLEEP) })
    reach(s, own, "started")
    s:ask("an update of another version", "POST", own, { config = config(s, SLEEP),
        current_version = "01ARZ3NDEKTSV4RRFFQ69G5FAV" })
    s:ask("a wait that is too short", "GET", own .. "/wait?state=stopped&timeout=1")
    s:ask("a wait for no state", "GET", own .. "/wait?state=nosuch&timeout=1")
    s:ask("its versions", "GET", own .. "/versions")
    s:ask("its events", "GET", own .. "/events")
    s:ask("stop it", "POST", own .. "/stop", { timeout = "5s" })
    reach(s, own, "stopped")
    s:ask("a command in a stopped one", "POST", own .. "/exec", { command = { "true" } })
    s:ask("destroy it", "DELETE", own)
    reach(s, own, "destroyed")
    s:ask("the destroyed machine", "GET", own)
end

---The last line of a command's log, as flyctl waits for it.
local function last_line(s, id)
    local path = ("/api/v1/apps/%s/logs?next_token=&instance=%s"):format(s.app, id)
    for _ = 1, 60 do
        local page = s:ask("", "GET", path, nil, { api = "api", unrecorded = true })
        for _, line in ipairs(type(page) == "table" and page.data or {}) do
            local attributes = line.attributes
            if attributes.message:find("Main child", 1, true) then
                return { message = attributes.message, level = attributes.level,
                    provider = attributes.meta.event.provider }
            end
        end
        task.sleep(0.5)
    end
end

local function command(s, path)
    local machine = s:ask("create a command", "POST", path, { config = config(s, EXIT) })
    if type(machine) ~= "table" or not machine.id then
        return
    end
    local own = path .. "/" .. machine.id
    reach(s, own, "stopped")
    s:ask("the ended command", "GET", own)
    s:note("the last line of its log", 200, last_line(s, machine.id))
    s:ask("destroy the command", "DELETE", own .. "?force=true")
    reach(s, own, "destroyed")
end

local function releases(s)
    local uiex = { api = "uiex" }
    local made = s:ask("create a release", "POST", "/api/v1/releases", { app_name = s.app,
        build_id = 0, image = s.image, strategy = "ROLLING", definition = { app = s.app } }, uiex)
    s:ask("the releases", "GET", ("/api/v1/apps/%s/releases?limit=5"):format(s.app), nil, uiex)
    s:ask("no current release", "GET", ("/api/v1/apps/%s/releases/current"):format(s.app), nil,
        uiex)
    local id = type(made) == "table" and type(made.release) == "table" and made.release.id
    if id then
        s.releases[id] = true
        for _, status in ipairs { "running", "complete", "failed" } do
            s:ask("the release is " .. status, "PATCH", "/api/v1/releases/" .. id,
                { status = status }, uiex)
        end
        s:ask("the current release", "GET", ("/api/v1/apps/%s/releases/current"):format(s.app),
            nil, uiex)
    end
    s:ask("a build begins", "POST", "/api/v1/builds", { app_name = s.app, builder_type = "image",
        machine_id = "", strategies_available = { "Remote" } }, uiex)
    s:ask("the organization", "GET", "/api/v1/organizations/" .. s.org, nil, uiex)
end

---@param s live.service
function M.run(s)
    local path = s.path .. "/machines"
    app(s)
    secrets(s)
    volumes(s)
    certificates(s)
    refusals(s, path)
    life(s, path)
    command(s, path)
    releases(s)
    graphql(s)
    s:ask("the regions", "GET", "/v1/platform/regions")
    s:ask("destroy the app", "DELETE", s.path .. "?force=true")
    s.created = false
    s:ask("the destroyed app", "GET", s.path)
end

return M
