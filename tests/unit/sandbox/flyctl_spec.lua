-- The requests that flyctl's commands send, and the types into which flyctl decodes the answers.
local digest = require "host.digest"
local fs = require "host.fs"
local http = require "host.http"
local json = require "dgrun.core.json"
local sandbox = require "support.sandbox"
local types = require "support.flyctl_types"

local image = "registry.fly.io/web:1"

---Sends one of a command's requests and decodes its answer.
local function sender(fly)
    local send = {}

    ---@return table the decoded answer
    function send.rest(method, path, body, shape, wanted)
        local status, answer = fly.call(method, path, body)
        assert.equal(wanted or 200, status, path .. ": " .. tostring(answer.error))
        types.decode(shape or {}, answer, path)
        return answer
    end

    ---@return table data
    function send.graphql(query, variables, shape)
        local status, answer = fly.call("POST", "/graphql",
            { query = query, variables = variables })
        assert.equal(200, status)
        assert.is_nil(answer.errors and answer.errors[1].message)
        types.decode(shape, answer.data, "data")
        return answer.data
    end

    function send.error(query, variables)
        local _, answer = fly.call("POST", "/graphql", { query = query, variables = variables })
        return answer.errors[1].message
    end

    return send
end

---An app with all that an app can have.
local function with(body)
    sandbox.run(function(fly)
        fly.register(image)
        local send = sender(fly)
        fly.call("POST", "/v1/apps/web/secrets", { values = { A = "1" } })
        fly.call("POST", "/v1/apps/web/ip_assignments", { type = "v6" })
        fly.call("POST", "/v1/apps/web/ip_assignments", { type = "shared_v4" })
        local _, made = fly.call("POST", "/api/v1/releases", { app_name = "web", image = image,
            build_id = 0, strategy = "ROLLING",
            definition = { app = "web", kill_timeout = "10s" } })
        fly.call("PATCH", "/api/v1/releases/" .. made.release.id, { status = "running" })
        fly.call("PATCH", "/api/v1/releases/" .. made.release.id, { status = "complete",
            metadata = { post_deployment_info = { flyctl_version = "0.3.200" } } })
        local machine = fly.web(image)
        fly.wait(machine.id, "started")
        body(send, fly, machine)
    end)
end

local names = { name = "web" }

describe("flyctl's GraphQL", function()
    it("whoami, doctor", function()
        with(function(send)
            send.graphql([[query { viewer { ... on User { id email enablePaidHobby }
                ... on Macaroon { email } } }]], {}, { viewer = types.viewer })
            local data = send.graphql([[mutation($input: ValidateWireGuardPeersInput!) {
                validateWireGuardPeers(input: $input) { invalidPeerIps validPeerIps } }]],
                { input = { peerIps = { "fdaa::1" } } }, { validateWireGuardPeers = {
                    invalidPeerIps = types.list "string", validPeerIps = types.list "string" } })
            assert.same({ "fdaa::1" }, data.validateWireGuardPeers.invalidPeerIps)
        end)
    end)

    it("apps list", function()
        with(function(send, fly)
            fly.call("POST", "/v1/apps", { name = "other", org_slug = "personal" })
            local query = [[query($org: ID, $after: String, $role: String, $first: Int) {
                apps(type: "container", first: $first, after: $after, organizationId: $org,
                    role: $role) {
                    pageInfo { hasNextPage endCursor }
                    nodes { id name deployed hostname platformVersion status
                        organization { id slug name } currentRelease { id version createdAt status }
                        role { name } } } }]]
            local first = send.graphql(query, { first = 1 }, { apps = types.page_of_apps }).apps
            assert.equal("other", first.nodes[1].name)
            assert.is_true(first.pageInfo.hasNextPage)
            local second = send.graphql(query, { first = 1, after = first.pageInfo.endCursor },
                { apps = types.page_of_apps }).apps
            assert.equal("web", second.nodes[1].name)
            assert.is_false(second.pageInfo.hasNextPage)
            assert.same({}, send.graphql(query, { org = "org_other" },
                { apps = types.page_of_apps }).apps.nodes)
        end)
    end)

    it("status, apps create --json, apps destroy, apps restart: the whole app", function()
        with(function(send, _, machine)
            local app = send.graphql([[query($name: String!) { app(name: $name) {
                id internalNumericId name hostname deployed status state version appUrl network
                cnameTarget platformVersion sharedIpAddress
                currentRelease { id evaluationId status inProgress version createdAt metadata
                    user { id name email } }
                config { definition valid errors }
                organization { id internalNumericId slug rawSlug paidPlan billable
                    remoteBuilderImage }
                services { description protocol internalPort ports { port handlers } }
                ipAddresses { nodes { id address type region createdAt serviceName
                    network { name organization { slug } } } }
                egressIpAddresses { nodes { id ip version region } }
                imageDetails { registry repository tag version digest }
                machines { nodes { id name config state region createdAt app { name }
                    ips { nodes { family kind ip maskSize } } host { id } } }
                regions { code name }
                role { name ... on PostgresClusterAppRole { databases { name }
                    users { username } } }
                limitedAccessTokens { nodes { id name expiresAt revokedAt
                    user { id name email } } }
                secrets { id name digest createdAt } } }]], names, { app = types.app }).app
            assert.same({ app = "web", kill_timeout = "10s" }, app.config.definition)
            assert.equal(machine.id, app.machines.nodes[1].id)
            assert.same({ "TLS", "HTTP" }, app.services[1].ports[1].handlers)
            assert.equal("web", app.imageDetails.repository)
        end)
    end)

    it("an app without anything", function()
        sandbox.run(function(fly)
            local app = sender(fly).graphql([[query($name: String!) { app(name: $name) {
                internalNumericId config { definition } services { protocol }
                imageDetails { tag } machines { nodes { id } } regions { code }
                egressIpAddresses { nodes { ip } } limitedAccessTokens { nodes { id } }
                releasesUnprocessed { nodes { id } } ipAddresses { nodes { id } } secrets { id }
                currentReleaseUnprocessed { id } } }]], names, { app = types.app }).app
            assert.equal(json.null, app.imageDetails)
            for _, name in ipairs { "machines", "egressIpAddresses", "limitedAccessTokens",
                "ipAddresses", "releasesUnprocessed" } do
                assert.is_true(json.is_array(app[name].nodes), name)
            end
        end)
    end)

    it("releases, config show, secrets deploy", function()
        with(function(send)
            local app = send.graphql([[query($name: String!, $limit: Int!) { app(name: $name) {
                releasesUnprocessed(first: $limit) { nodes { id version description reason status
                    imageRef stable createdAt user { id email name } } }
                currentReleaseUnprocessed { id version status imageRef configDefinition
                    createdAt } } }]], { name = "web", limit = 25 }, { app = types.app }).app
            assert.equal(image, app.releasesUnprocessed.nodes[1].imageRef)
        end)
    end)

    it("deploy --image, machine run: an image", function()
        with(function(send)
            send.graphql([[query($name: String!, $ref: String!) { app(name: $name) { id
                image(ref: $ref) { id digest ref compressedSizeFull config configDigest
                    manifest } } }]], { name = "web", ref = image }, { app = types.app })
        end)
    end)

    it("image show: an image of the user's own has no updates", function()
        with(function(send)
            assert.matches("Unknown repository", send.error([[query($image: String!,
                $flyVersion: String) { latestImageDetails(image: $image, flyVersion: $flyVersion) {
                    registry repository tag version digest } }]], { image = "web:1" }), 1, true)
            assert.matches("Unknown repository", send.error(
                '{ app(name: "web") { latestImageDetails { tag } } }'), 1, true)
        end)
    end)

    it("orgs list, orgs show", function()
        with(function(send)
            send.graphql([[query($admin: Boolean!) { organizations(admin: $admin) { nodes { id slug
                rawSlug name type paidPlan billable viewerRole internalNumericId } } }]],
                { admin = false }, { organizations = types.nodes(types.organization_details) })
            local data = send.graphql([[query($slug: String!) {
                organizationdetails: organization(slug: $slug) { id slug rawSlug name type
                    viewerRole internalNumericId paidPlan remoteBuilderImage
                    members { edges { cursor node { id name email } joinedAt role } }
                    addOns(type: upstash_redis) { nodes { id name } } } }]], { slug = "personal" },
                { organizationdetails = types.organization_details })
            assert.equal("sandbox@example.com",
                data.organizationdetails.members.edges[1].node.email)
        end)
    end)

    it("platform regions, volumes create: the regions", function()
        with(function(send)
            local data = send.graphql([[query { nearestRegion(wireguardGateway: false) { code name }
                platform { requestRegion regions { code name latitude longitude gatewayAvailable
                    requiresPaidPlan deprecated } } }]], {}, { nearestRegion = types.region,
                platform = { requestRegion = "string", regions = types.list(types.region) } })
            assert.is_number(data.platform.regions[1].latitude)
        end)
    end)

    it("tokens create deploy, tokens list", function()
        with(function(send, fly)
            local data = send.graphql([[mutation($name: String!, $organizationId: ID!,
                $profile: String!, $profileParams: JSON, $expiry: String!) {
                createLimitedAccessToken(input: { name: $name, organizationId: $organizationId,
                    profile: $profile, profileParams: $profileParams, expiry: $expiry }) {
                    limitedAccessToken { id tokenHeader expiresAt } } }]],
                { name = "ci", organizationId = "org_sandbox", profile = "deploy",
                    profileParams = { app_id = "web" }, expiry = "2h0m0s" },
                { createLimitedAccessToken = { limitedAccessToken = { id = "string",
                    tokenHeader = "string", expiresAt = "time" } } })
            local token = data.createLimitedAccessToken.limitedAccessToken.tokenHeader
            assert.equal(200, (fly.call("GET", "/v1/apps/web", nil, { token = token })))
            assert.equal(401, (fly.call("GET", "/v1/apps/web", nil, { token = "x" .. token })))
            local app = send.graphql([[query($name: String!) { app(name: $name) {
                limitedAccessTokens { nodes { id name expiresAt revokedAt user { email } } } } }]],
                names, { app = types.app }).app
            assert.equal("ci", app.limitedAccessTokens.nodes[1].name)
            assert.matches("profile", send.error([[mutation { createLimitedAccessToken(input: {
                name: "a", organizationId: "org_sandbox", profile: "ssh", expiry: "1h" }) {
                limitedAccessToken { id } } }]]))
        end)
    end)

    it("apps destroy", function()
        with(function(send, fly)
            send.graphql("mutation($appId: ID!) { deleteApp(appId: $appId) "
                .. "{ organization { id } } }", { appId = "web" },
                { deleteApp = { organization = { id = "string" } } })
            assert.equal(404, (fly.call("GET", "/v1/apps/web")))
        end)
    end)

    it("refuses an object in place of a list, and a list in place of an object", function()
        with(function(send)
            local query = [[mutation($input: UnsetSecretsInput!) {
                unsetSecrets(input: $input) { app { id } } }]]
            assert.matches("invalid value", send.error(query,
                { input = { appId = "web", keys = {} } }))
            assert.matches("invalid value", send.error(query, { input = json.array {} }))
        end)
    end)
end)

describe("flyctl's Machines API", function()
    it("apps, machines and their parts", function()
        with(function(send, _, machine)
            local path = "/v1/apps/web/machines"
            local own = path .. "/" .. machine.id
            send.rest("GET", "/v1/apps/web", nil, types.rest_app)
            send.rest("GET", "/v1/apps?org_slug=personal", nil,
                { apps = types.list(types.rest_app), total_apps = "int" })
            send.rest("GET", path, nil, types.list(types.machine))
            send.rest("GET", own .. "?include_leases=true", nil, types.machine)
            send.rest("GET", own .. "/ps", nil, types.processes)
            local lease = send.rest("POST", own .. "/lease?ttl=13", nil, types.lease, 201)
            send.rest("GET", own .. "/lease", nil, types.lease)
            assert.is_string(lease.data.nonce)
            send.rest("GET", "/v1/apps/web/secrets", nil, types.secrets)
            send.rest("POST", "/v1/apps/web/secrets", { values = { A = json.null } }, types.secrets)
            send.rest("GET", "/v1/platform/regions", nil,
                { nearest = "string", regions = types.list {
                    code = "string", name = "string", latitude = "float", longitude = "float",
                    gateway_available = "bool", requires_paid_plan = "bool", deprecated = "bool",
                    geo_region = "string", mpg_available = "bool" } })
            send.rest("GET", "/api/v1/apps/web/logs?next_token=", nil, types.logs)
        end)
    end)

    it("metadata are set without the nonce of a lease", function()
        with(function(send, fly, machine)
            local own = "/v1/apps/web/machines/" .. machine.id
            fly.call("POST", own .. "/lease?ttl=60")
            send.rest("POST", own .. "/metadata/a", { value = "1" }, nil, 204)
            send.rest("PUT", own .. "/metadata", { metadata = { b = "2" } }, nil, 204)
            send.rest("PATCH", own .. "/metadata", { metadata = { c = "3" } }, nil, 204)
            send.rest("DELETE", own .. "/metadata/b", nil, nil, 204)
            assert.same({ c = "3" }, fly.get(machine.id).config.metadata)
            assert.equal(409, (fly.call("POST", own .. "/metadata/a", { value = "1" },
                { nonce = "another" })))
        end)
    end)

    it("an update during an update waits its turn", function()
        with(function(_, fly)
            fly.register("registry.fly.io/web:slow", { stop_seconds = 4 })
            local machine = fly.web "registry.fly.io/web:slow"
            fly.wait(machine.id, "started")
            local own = "/v1/apps/web/machines/" .. machine.id
            fly.call("POST", own, { config = { image = image } })
            local status, answer = fly.call("POST", own, { config = { image = image } })
            assert.equal(409, status)
            assert.equal("aborted: machine is replacing: concurrent update in progress",
                answer.error)
        end)
    end)

    it("an object in place of a list is refused", function()
        with(function(_, fly)
            for _, config in ipairs { { services = {} }, { mounts = {} }, { standbys = {} },
                { init = { cmd = {} } }, { checks = json.array {} }, { env = json.array {} },
                { init = json.array {} } } do
                config.image = image
                local status, answer = fly.call("POST", "/v1/apps/web/machines",
                    { config = config })
                assert.equal(400, status)
                assert.matches("invalid machine configuration", answer.error)
            end
            local status = fly.call("POST", "/v1/apps/web/machines", { skip_launch = true,
                config = { image = image, services = json.array {}, env = {}, init = {} } })
            assert.equal(200, status)
        end)
    end)

    it("volumes and their snapshots", function()
        with(function(send, fly)
            local path = "/v1/apps/web/volumes"
            local volume = send.rest("POST", path, { name = "data", size_gb = 1, region = "ams" },
                types.volume)
            local own = path .. "/" .. volume.id
            send.rest("GET", path, nil, types.list(types.volume))
            send.rest("GET", own, nil, types.volume)
            assert.is_true(json.is_array(send.rest("GET", own .. "/snapshots", nil,
                types.list(types.snapshot))))
            send.rest("POST", own .. "/snapshots")
            local snapshots = send.rest("GET", own .. "/snapshots", nil,
                types.list(types.snapshot))
            assert.equal("created", snapshots[1].status)
            assert.equal(5, snapshots[1].retention_days)
            assert.equal(404, (fly.call("GET", path .. "/vol_none/snapshots")))
            fly.advance(5 * 86400 + 1)
            assert.same({}, send.rest("GET", own .. "/snapshots", nil,
                types.list(types.snapshot)))
            send.rest("PUT", own .. "/extend", { size_gb = 2 },
                { volume = types.volume, needs_restart = "bool" })
            send.rest("DELETE", own, nil, types.volume)
        end)
    end)

    it("certificates", function()
        with(function(send, fly)
            local path = "/v1/apps/web/certificates"
            local listed = { certificates = types.list(types.certificate_summary),
                next_cursor = "string?", total_count = "int" }
            assert.is_true(json.is_array(send.rest("GET", path, nil, listed).certificates))
            local made = send.rest("POST", path .. "/acme", { hostname = "www.example.com" },
                types.certificate, 201)
            assert.equal("web.fly.dev", made.dns_requirements.cname)
            assert.equal("www.example.com", send.rest("GET", path, nil, listed)
                .certificates[1].hostname)
            local own = path .. "/www.example.com"
            assert.is_false(send.rest("GET", own, nil, types.certificate).configured)
            send.rest("POST", own .. "/check", nil, types.certificate)
            assert.equal(422, (fly.call("POST", path .. "/acme", { hostname = "no host" })))
            assert.equal(422, (fly.call("POST", path .. "/acme", { hostname = "www.example.com" })))
            assert.equal(404, (fly.call("GET", path .. "/other.example.com")))
            send.rest("DELETE", own, nil, nil, 204)
            assert.equal(404, (fly.call("DELETE", own)))
        end)
    end)
end)

describe("flyctl's web API", function()
    it("organizations, releases and builds", function()
        with(function(send)
            send.rest("GET", "/api/v1/organizations?admin=false", nil,
                { organizations = types.list(types.rest_organization) })
            send.rest("GET", "/api/v1/organizations/personal", nil,
                { organization = types.rest_organization })
            send.rest("GET", "/api/v1/apps/web/releases?limit=25", nil,
                { releases = types.list(types.rest_release) })
            send.rest("GET", "/api/v1/apps/web/releases/current", nil, types.rest_release)
            -- flyctl accepts no other status than 200.
            local build = send.rest("POST", "/api/v1/builds", { app_name = "web",
                builder_type = "image", machine_id = "", strategies_available = { "Remote" } },
                types.build)
            send.rest("POST", "/api/v1/builds/finish", { app_name = "web", build_id = build.id,
                status = "completed" }, types.build)
            send.rest("POST", "/api/v1/builds/depot_builder", { app_name = "web" },
                { build_id = "string", build_token = "string" })
        end)
    end)
end)

local LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function from_base64(text)
    local bits = text:gsub("=", ""):gsub(".", function(letter)
        local value, digits = LETTERS:find(letter, 1, true) - 1, {}
        for i = 6, 1, -1 do
            digits[i] = tostring(value % 2)
            value = math.floor(value / 2)
        end
        return table.concat(digits)
    end)
    return (bits:gsub("%d%d?%d?%d?%d?%d?%d?%d?", function(byte)
        return #byte == 8 and string.char(tonumber(byte, 2)) or ""
    end))
end

---Reads MessagePack as far as a macaroon has it.
local function unpack_message(bytes)
    local at = 1
    local function read()
        local byte = bytes:byte(at)
        at = at + 1
        if byte == 0xc2 or byte == 0xc3 then
            return byte == 0xc3
        elseif byte == 0xc4 then
            local size = bytes:byte(at)
            at = at + 1 + size
            return bytes:sub(at - size, at - 1)
        elseif byte >= 0xa0 and byte <= 0xbf then
            at = at + byte - 0xa0
            return bytes:sub(at - byte + 0xa0, at - 1)
        end
        assert(byte >= 0x90 and byte <= 0x9f, "not MessagePack of a macaroon")
        local items = {}
        for i = 1, byte - 0x90 do
            items[i] = read()
        end
        return items
    end
    local value = read()
    assert.equal(#bytes + 1, at)
    return value
end

describe("a deploy token", function()
    it("is a macaroon that flyctl can parse", function()
        with(function(_, fly)
            local _, made = fly.call("POST", "/v1/apps/web/deploy_token", {})
            local text = made.token:match "^FlyV1 fm2_([%w+/]+=*)$"
            local nonce, location, caveats, tail = unpack(unpack_message(from_base64(text)))
            assert.same({ 16, false }, { #nonce[2], nonce[3] })
            assert.equal("https://api.fly.io/v1", location)
            assert.same({}, caveats)
            assert.equal(32, #tail)
        end)
    end)

    it("is good for the registry, for the images of its app", function()
        with(function(_, fly)
            local _, made = fly.call("POST", "/v1/apps/web/deploy_token", {})
            local function status(app, password)
                return http.request { url = ("%s/v2/%s/manifests/1"):format(fly.sandbox.url, app),
                    method = "HEAD", headers = { Authorization = "Basic "
                        .. digest.base64("x:" .. password) } }.status
            end
            assert.equal(200, status("web", made.token))
            assert.equal(200, status("web", (made.token:gsub("^FlyV1 ", ""))))
            assert.equal(200, status("web", "fo1_test"))
            assert.equal(403, status("other", made.token))
            assert.equal(401, status("web", "fm2_other"))
        end)
    end)
end)

describe("the log of a machine", function()
    local function last_line(fly, machine)
        local _, answer = fly.call("GET", "/api/v1/apps/web/logs?next_token=&instance="
            .. machine.id)
        local last = answer.data[#answer.data]
        return last and last.attributes or { message = "" }
    end

    it("ends with the line that flyctl waits for", function()
        for code = 0, 1 do
            with(function(_, fly)
                fly.register("registry.fly.io/web:ends", { exit_code = code })
                local machine = fly.create { config = { image = "registry.fly.io/web:ends",
                    restart = { policy = "no" } } }
                fly.wait(machine.id, "stopped")
                local line = last_line(fly, machine)
                assert.equal("INFO Main child exited normally with code: " .. code, line.message)
                assert.same({ "app", "info", machine.id },
                    { line.meta.event.provider, line.level, line.instance })
            end)
        end
    end)

    it("has the exit of a process that was asked to stop", function()
        with(function(_, fly)
            local folder = fly.dir / "source"
            assert(fs.mkdir(folder))
            for command, ending in pairs {
                ['"sh", "-c", "echo ready; exec sleep 60"'] =
                    "INFO Main child exited with signal (with signal 'SIGINT', core dumped? false)",
                [ [["sh", "-c", "trap 'exit 4' INT; echo ready; while :; do sleep 0.05; done"]] ] =
                    "INFO Main child exited normally with code: 4",
            } do
                assert(fs.write(folder / "Dockerfile", ("FROM debian\nCMD [%s]\n"):format(command)))
                local _, built = fly.call("POST", "/sandbox/v1/builds",
                    { app = "web", label = "real", dir = folder })
                local machine = fly.create { config = { image = built.image } }
                fly.wait(machine.id, "started")
                fly.until_true(function()
                    return last_line(fly, machine).message == "ready"
                end)
                fly.call("POST", "/v1/apps/web/machines/" .. machine.id .. "/stop")
                fly.wait(machine.id, "stopped")
                assert.equal(ending, last_line(fly, machine).message)
            end
        end)
    end)

    it("names the signal that ended the process", function()
        with(function(_, fly, machine)
            fly.call("POST", "/v1/apps/web/machines/" .. machine.id .. "/signal",
                { signal = "SIGSEGV" })
            fly.until_true(function()
                return last_line(fly, machine).message:find "Main child"
            end)
            assert.equal("INFO Main child exited with signal (with signal 'SIGSEGV', core dumped? "
                .. "false)", last_line(fly, machine).message)
        end)
    end)
end)
