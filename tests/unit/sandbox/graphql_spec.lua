local json = require "dgrun.core.json"
local parser = require "sandbox.graphql.parser"
local sandbox = require "support.sandbox"
local schema = require "sandbox.graphql.schema"

---@param body fun(ask: fun(query: string, variables?: table, more?: table): table, table?, fly)
local function with(body)
    sandbox.run(function(fly)
        body(function(query, variables, more)
            local request = { query = query, variables = variables }
            for name, value in pairs(more or {}) do
                request[name] = value
            end
            local status, answer = fly.call("POST", "/graphql", request)
            assert.equal(200, status)
            return answer.data, answer.errors
        end, fly)
    end)
end

describe("GraphQL", function()
    it("answers what clients ask of an app", function()
        with(function(ask, fly)
            fly.call("POST", "/v1/apps/web/secrets", { values = { A = "1" } })
            local data = ask([[query($name: String!) { app(name: $name) {
                id internalNumericId name hostname appUrl deployed status state version
                platformVersion network cnameTarget currentLock { lockId }
                organization { id slug name paidPlan internalNumericId }
                currentRelease { id version status inProgress createdAt } role { name }
                secrets { id name digest createdAt } sharedIpAddress
                ipAddresses { nodes { id address type region createdAt serviceName } } } }]],
                { name = "web" })
            assert.equal("web.fly.dev", data.app.hostname)
            assert.equal("PENDING", data.app.state)
            assert.equal("A", data.app.secrets[1].name)
            assert.equal(json.null, data.app.currentRelease)
            assert.equal("personal", data.app.organization.slug)
        end)
    end)

    it("tells releases, newest first, with image and configuration", function()
        with(function(ask, fly)
            fly.register "registry.fly.io/web:a"
            for _ = 1, 3 do
                local made = ask([[mutation($input: CreateReleaseInput!) {
                    createRelease(input: $input) { release { id version } } }]], { input = {
                    appId = "web", image = "registry.fly.io/web:a", strategy = "ROLLING",
                    platformVersion = "machines", definition = { app = "web" } } })
                ask([[mutation($input: UpdateReleaseInput!) {
                    updateRelease(input: $input) { release { id } } }]], { input = {
                    releaseId = made.createRelease.release.id, status = "complete",
                    metadata = { text = "x" } } })
            end
            local query = [[query($name: String!, $limit: Int!) { app(name: $name) {
                releasesUnprocessed(first: $limit) { nodes { id version description reason status
                    imageRef stable createdAt user { id email name } configDefinition
                    deploymentStrategy image { digest } } }
                currentReleaseUnprocessed { version configDefinition imageRef }
                currentRelease { metadata config { definition } } } }]]
            local app = ask(query, { name = "web", limit = 2 }).app
            assert.equal(2, #app.releasesUnprocessed.nodes)
            assert.equal(3, app.releasesUnprocessed.nodes[1].version)
            assert.same({ app = "web" }, app.releasesUnprocessed.nodes[1].configDefinition)
            assert.equal(3, app.currentReleaseUnprocessed.version)
            assert.same({ text = "x" }, app.currentRelease.metadata)
            -- The same releases as by REST.
            local _, rest = fly.call("GET", "/api/v1/apps/web/releases")
            assert.equal(rest.releases[1].id, app.releasesUnprocessed.nodes[1].id)
        end)
    end)

    it("changes apps, secrets, addresses and locks", function()
        with(function(ask)
            local input = "mutation($input: %s!) { %s }"
            local data = ask(input:format("CreateAppInput",
                "createApp(input: $input) { app { id name organization { slug } } }"),
                { input = { organizationId = "org_sandbox", name = "other" } })
            assert.equal("other", data.createApp.app.name)
            local _, errors = ask(input:format("CreateAppInput",
                "createApp(input: $input) { app { id } }"),
                { input = { organizationId = "org_sandbox", name = "other" } })
            assert.matches("Name has already been taken", errors[1].message)
            assert.is_false(ask('{ appNameAvailable(name: "other") }').appNameAvailable)
            assert.is_true(ask('{ appNameAvailable(name: "free") }').appNameAvailable)

            data = ask(input:format("SetSecretsInput",
                "setSecrets(input: $input) { release { id } app { secrets { name } } }"),
                { input = { appId = "other", secrets = { { key = "A", value = "1" },
                    { key = "B", value = "2" } } } })
            assert.equal(2, #data.setSecrets.app.secrets)
            assert.equal(json.null, data.setSecrets.release)
            data = ask(input:format("UnsetSecretsInput",
                "unsetSecrets(input: $input) { app { secrets { name } } }"),
                { input = { appId = "other", keys = { "A" } } })
            assert.same({ { name = "B" } }, data.unsetSecrets.app.secrets)

            local allocate = input:format("AllocateIPAddressInput",
                "allocateIpAddress(input: $input) { ipAddress { address } app { sharedIpAddress "
                .. "ipAddresses { nodes { type } } } }")
            data = ask(allocate, { input = { appId = "other", type = "shared_v4" } })
            assert.equal(json.null, data.allocateIpAddress.ipAddress)
            assert.is_string(data.allocateIpAddress.app.sharedIpAddress)
            data = ask(allocate, { input = { appId = "other", type = "v6" } })
            assert.same({ { type = "v6" } }, data.allocateIpAddress.app.ipAddresses.nodes)

            local lock = ask(input:format("LockAppInput", "lockApp(input: $input) { lockId }"),
                { input = { appId = "other" } }).lockApp.lockId
            _, errors = ask(input:format("LockAppInput", "lockApp(input: $input) { lockId }"),
                { input = { appId = "other" } })
            assert.matches("locked", errors[1].message)
            data = ask(input:format("UnlockAppInput",
                "unlockApp(input: $input) { app { currentLock { lockId } } }"),
                { input = { appId = "other", lockId = lock } })
            assert.equal(json.null, data.unlockApp.app.currentLock)
        end)
    end)

    it("knows the viewer, organizations, regions and images", function()
        with(function(ask, fly)
            fly.register "registry.fly.io/web:a"
            local data = ask [[{ viewer { __typename ... on User { id email }
                ... on Macaroon { email } }
                organizations(admin: false) { nodes { id slug rawSlug name type } }
                organization(slug: "personal") { id } nearestRegion { code name }
                platform { requestRegion regions { code } }
                canPerformBluegreenDeployment(name: "web")
                latestImageDetails(image: "x") { tag }
                app(name: "web") { image(ref: "registry.fly.io/web:a") { id digest ref tag
                    compressedSizeFull manifest } none: image(ref: "registry.fly.io/web:b") { id }
                } }]]
            assert.equal("User", data.viewer.__typename)
            assert.equal("personal", data.organizations.nodes[1].slug)
            assert.equal("a", data.app.image.tag)
            assert.equal(json.null, data.app.none)
            assert.is_true(data.canPerformBluegreenDeployment)
            assert.equal(json.null, data.latestImageDetails)
            local _, made = fly.call("POST", "/v1/apps/web/deploy_token", {})
            local token = made.token:gsub("^FlyV1 ", "")
            local _, answer = fly.call("POST", "/graphql",
                { query = "{ viewer { __typename ... on Macaroon { id } } }" }, { token = token })
            assert.equal("Macaroon", answer.data.viewer.__typename)
            _, answer = fly.call("POST", "/graphql", { query = '{ app(name: "other") { id } }' },
                { token = token })
            assert.equal(json.null, answer.data.app)
        end)
    end)

    it("resolves fragments, aliases, directives, variables with defaults", function()
        with(function(ask)
            local data = ask([[
                # comments and , commas are nothing
                query One($name: String = "web", $more: Boolean = false) {
                    a: app(name: $name) { ...Names id @include(if: $more)
                        ... @skip(if: $more) { status } }
                    b: app(name: "web") { ... on App { name } ...Names }
                }
                query Two { viewer { __typename } }
                fragment Names on App { n: name __typename organization { ...Org } }
                fragment Org on Organization { slug }]], nil, { operationName = "One" })
            assert.same({ n = "web", __typename = "App", organization = { slug = "personal" },
                status = "pending" }, data.a)
            assert.same({ n = "web", name = "web", __typename = "App",
                organization = { slug = "personal" } }, data.b)
        end)
    end)

    it("keeps what works beside what does not", function()
        with(function(ask)
            local data, errors = ask '{ a: app(name: "web") { id } b: app(name: "x") { id } }'
            assert.equal("web", data.a.id)
            assert.equal(json.null, data.b)
            assert.equal('Could not find App "x"', errors[1].message)
            assert.same({ "b" }, errors[1].path)
            assert.equal("NOT_FOUND", errors[1].extensions.code)
        end)
    end)
end)

describe("GraphQL refuses", function()
    for query, message in pairs {
        ["{"] = "Syntax Error: Expected Name, found <EOF>.",
        [""] = "Syntax Error: Expected Name, found <EOF>.",
        ["{ app(name: \"a"] = "Unterminated string",
        ["{ app(name: \"a\\q\") { id } }"] = "Invalid character escape",
        ["{ nosuch }"] = "Field 'nosuch' doesn't exist on type 'Query'",
        ["{ app }"] = "Field must have selections",
        ['{ app(name: "web") { id { x } } }'] = "Selections can't be made on scalars",
        ['{ app(nam: "web") { id } }'] = "doesn't accept argument 'nam'",
        ["{ app(name: $x) { id } }"] = 'Variable "$x" is not defined',
        ["query($x: Nosuch) { viewer { __typename } }"] = "isn't a defined input type",
        ["{ ...F } fragment F on Query { ...G } fragment G on Query { ...F }"] = "infinite loop",
        ["{ ...Nosuch }"] = "Fragment Nosuch was used, but not defined",
        ["{ viewer { ... on Nosuch { id } } }"] = "No such type Nosuch",
        ["{ viewer @nosuch { __typename } }"] = 'Unknown directive "@nosuch"',
        ["{ viewer { __typename } } query B { viewer { __typename } }"] =
            "Must provide operation name",
        ["subscription { a }"] = "subscriptions",
        ["type A { b: String }"] = 'Unexpected Name "type"',
        ["mutation { createRelease { release { id } } }"] = "missing required arguments: input",
        ["{ a(b: 01) }"] = "Invalid number",
        ["{ a(b: 1x) }"] = "Invalid number",
        ["{ \0 }"] = "Unexpected character",
        ["{ \226\130 }"] = "Unexpected character",
        [("{ viewer "):rep(200)] = "nested too deeply",
        ["{ a(b: " .. ("["):rep(200)] = "nested too deeply",
        ["{ " .. ("a "):rep(20000) .. "}"] = "too many tokens",
        ["{ viewer { __typename } }" .. (" "):rep(70000)] = "too large",
    } do
        it(query:sub(1, 40):gsub("%c", "?"), function()
            with(function(ask)
                -- What is not UTF-8 does not get past JSON.
                if query:find("\226", 1, true) then
                    local ok, e = pcall(parser.parse, query)
                    assert.is_false(ok)
                    assert.matches(message, e.message, 1, true)
                    return
                end
                local data, errors = ask(query)
                assert.is_nil(data)
                assert.matches(message, errors[1].message, 1, true)
            end)
        end)
    end

    it("variables of another type", function()
        with(function(ask)
            local query = "query($name: String!, $n: Int) { app(name: $name) { id } }"
            for _, variables in ipairs { {}, { name = 1 }, { name = { "a" } }, { name = json.null },
                { name = "web", n = "1" }, { name = "web", n = 1.5 } } do
                local data, errors = ask(query, variables)
                assert.is_nil(data)
                assert.matches("was provided invalid value", errors[1].message)
            end
            local set = "mutation($input: SetSecretsInput!) { setSecrets(input: $input) "
                .. "{ app { id } } }"
            for _, input in ipairs { { appId = "web" }, { appId = "web", secrets = "x" },
                { appId = "web", secrets = { { key = "A" } } },
                { appId = "web", secrets = {}, more = 1 } } do
                assert.is_nil(ask(set, { input = input }))
            end
        end)
    end)

    it("bodies that are no requests", function()
        sandbox.run(function(fly)
            for _, body in ipairs { { query = 1 }, { variables = {} },
                { query = "{ a }", variables = "x" }, { query = "{ a }", operationName = 1 } } do
                assert.equal(400, (fly.call("POST", "/graphql", body)))
            end
            assert.equal(401, (fly.call("POST", "/graphql", { query = "{ a }" },
                { token = "other" })))
        end)
    end)
end)

describe("the schema", function()
    it("has the types of Fly's published schema", function()
        for place, kind in pairs {
            ["App.internalNumericId"] = "Int!", ["Organization.internalNumericId"] = "BigInt!",
            ["App.platformVersion"] = "PlatformVersionEnum", ["AppConfig.definition"] = "JSON!",
            ["Image.config"] = "JSON!", ["Image.configDigest"] = "JSON!",
            ["Image.manifest"] = "JSON!", ["Image.compressedSizeFull"] = "BigInt!",
            ["LockAppPayload.lockId"] = "ID", ["LockAppPayload.expiration"] = "ISO8601DateTime",
            ["AppConnection.nodes"] = "[App]", ["ReleaseConnection.nodes"] = "[Release]",
            ["IPAddressConnection.nodes"] = "[IPAddress]", ["App.secrets"] = "[Secret!]!",
            ["OrganizationConnection.nodes"] = "[Organization]",
            ["CreateReleasePayload.release"] = "Release",
            ["User.enablePaidHobby"] = "Boolean!", ["Region.latitude"] = "Float",
        } do
            local type_name, field = place:match "^(%w+)%.(%w+)$"
            assert.equal(kind, schema.types[type_name].fields[field].type, place)
        end
        assert.equal("String", schema.inputs.CreateAppInput.appRoleId)
    end)

    it("names only types that exist", function()
        local scalars = { String = true, ID = true, Int = true, Float = true, Boolean = true,
            JSON = true, BigInt = true, ISO8601DateTime = true }
        local function check(kind, where)
            local name = kind:gsub("[%[%]!]", "")
            assert.is_true(scalars[name] or schema.types[name] ~= nil or schema.enums[name] ~= nil
                or schema.inputs[name] ~= nil, where .. ": " .. name)
        end
        for type_name, object in pairs(schema.types) do
            for name, field in pairs(object.fields) do
                check(field.type, type_name .. "." .. name)
                for argument, kind in pairs(field.arguments or {}) do
                    check(kind, ("%s.%s(%s)"):format(type_name, name, argument))
                end
            end
        end
        for input, fields in pairs(schema.inputs) do
            for name, kind in pairs(fields) do
                check(kind, input .. "." .. name)
            end
        end
        for name, members in pairs(schema.unions) do
            for _, member in ipairs(members) do
                check(member, name)
            end
        end
    end)
end)

describe("the parser", function()
    it("reads block strings and escapes", function()
        local document = parser.parse(
            '{ a(b: """\n    one\n      two\n    \\"""three\n  """, c: "\\u00e9\\n") }')
        local arguments = document.operations[1].selections[1].arguments
        assert.equal('one\n  two\n"""three', arguments[1].value.value)
        assert.equal("é\n", arguments[2].value.value)
    end)

    it("never fails in another way, whatever it is given", function()
        local pieces = { "{", "}", "(", ")", "a", "$b", ":", "!", "...", "on", "query", "fragment",
            '"x"', '"""', "1", "-", "1.5e3", "[", "]", "@skip", "if", "=", "#", "\n", "true" }
        for _ = 1, 3000 do
            local text = {}
            for i = 1, math.random(20) do
                text[i] = pieces[math.random(#pieces)]
            end
            local ok, e = pcall(parser.parse, table.concat(text, " "))
            assert.is_true(ok or (type(e) == "table" and e.graphql == true), tostring(e))
        end
    end)
end)
