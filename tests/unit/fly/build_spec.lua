local build = require("dgrun.fly.build").build
local deploy = require("dgrun.fly.deploy").deploy
local fly_run = require "support.fly_run"
local fs = require "host.fs"
local json = require "dgrun.core.json"
local programs = require "support.programs"
local secret = require "host.secret"

local flyctl = [[
label = option("--image-label")
sandbox("/sandbox/v1/images", {"ref": "registry.fly.io/web:" + label})
print("Validating fly.toml")
print("--> Building image", file=sys.stderr)
print("image: registry.fly.io/web:" + label, file=sys.stderr)
print("image size: 123 MB", file=sys.stderr)
]]

local docker = [[
if sys.argv[1] == "buildx":
    made = sandbox("/sandbox/v1/images", {"ref": option("--tag")})
    print("#1 building", file=sys.stderr)
    with open(option("--metadata-file"), "w") as f:
        json.dump({"containerimage.digest": made["digest"]}, f)
]]

local buildah = [[
if sys.argv[1] == "push":
    made = sandbox("/sandbox/v1/images", {"ref": sys.argv[-2]})
    with open(option("--digestfile"), "w") as f:
        f.write(made["digest"])
]]

---@param names table<string, string>
---@param body fun(go: fun(opts: table, plan?: boolean): table, calls: function, fly: table)
local function with(names, body)
    fly_run.with(function(fly, execute)
        programs.with(fly.sandbox.url, names, function(calls)
            body(function(opts, plan)
                opts.app, opts.dir = "web", fly.dir
                return execute(function() return build(opts) end, plan)
            end, calls, fly, execute)
        end)
    end)
end

---No secret may stand where others can read it.
local function assert_hidden(calls, value)
    for _, call in ipairs(calls) do
        assert.is_nil(table.concat(call.argv, " "):find(value, 1, true))
    end
end

describe("a build with flyctl", function()
    it("runs the documented command line, with the token in the environment", function()
        with({ flyctl = flyctl }, function(go, calls, fly)
            local record = go { label = "v1", builder = "flyctl", config = "fly.toml",
                dockerfile = "/src/Dockerfile", ignorefile = "/src/.ignore", target = "run",
                args = { B = "2", A = "1" }, labels = { team = "x" } }
            assert.equal("done", record.status, tostring(record.error))
            local call = calls()[1]
            assert.same({ "deploy", "--build-only", "--push", "--image-label", "v1", "-a", "web",
                "-c", "fly.toml", "--dockerfile", "/src/Dockerfile", "--ignorefile", "/src/.ignore",
                "--build-target", "run", "--build-arg", "A=1", "--build-arg", "B=2",
                "--label", "team=x" }, call.argv)
            assert.equal("fo1_test", call.env.FLY_ACCESS_TOKEN)
            assert.equal(fs.real(fly.dir), fs.real(call.cwd))
            assert_hidden(calls(), "fo1_test")
            assert.matches("^registry.fly.io/web:v1@sha256:", record.value.image)
            assert.equal(123e6, record.value.size)
            assert.is_true(record.value.seconds >= 0)
        end)
    end)

    it("happens once for a label, and not in a plan", function()
        with({ flyctl = flyctl }, function(go, calls)
            local plan = go({ commit = ("a"):rep(40), builder = "flyctl" }, true)
            assert.equal("planned", plan.effects[1].status)
            assert.same({}, calls())
            assert.equal("done", go { commit = ("a"):rep(40), builder = "flyctl" }.status)
            assert.same({}, go { commit = ("a"):rep(40), builder = "flyctl" }.effects)
            assert.equal(1, #calls())
        end)
    end)

    it("refuses secrets, which flyctl takes on its command line", function()
        with({ fly = flyctl }, function(go, calls)
            local record = go { label = "v1", builder = "flyctl",
                secrets = { TOKEN = secret.new("TOKEN", "canary-value") } }
            assert.equal("fly.build_secrets", record.error.code)
            assert.same({}, calls())
        end)
    end)

    it("fails with what flyctl said", function()
        with({ flyctl = 'print("no such Dockerfile", file=sys.stderr)\nsys.exit(1)' },
            function(go)
                local e = go { label = "v1", builder = "flyctl" }.error
                assert.equal("fly.build_failed", e.code)
                assert.equal(1, e.status)
                assert.same({ "no such Dockerfile" }, e.details[1].lines)
            end)
        with({ flyctl = "pass" }, function(go)
            local e = go { label = "v1", builder = "flyctl" }.error
            assert.matches("the registry has no registry.fly.io/web:v1", e.msg)
        end)
    end)
end)

describe("a build with docker", function()
    it("logs in apart, builds with buildx, takes the digest from the metadata", function()
        with({ docker = docker }, function(go, calls, fly)
            local record = go { label = "v1", builder = "docker", dockerfile = "/src/Dockerfile",
                target = "run", args = { A = "1" },
                secrets = { TOKEN = secret.new("TOKEN", "canary-value") } }
            assert.equal("done", record.status, tostring(record.error))
            local login, built = calls()[1], calls()[2]
            assert.same({ "login", "--username", "x", "--password-stdin", "registry.fly.io" },
                login.argv)
            assert.equal("fo1_test", login.stdin)
            assert.same({ "buildx", "build", "--push", "--progress", "plain", "--platform",
                "linux/amd64", "--provenance", "false", "--tag", "registry.fly.io/web:v1",
                "--metadata-file", built.env.DOCKER_CONFIG / "metadata.json",
                "--file", "/src/Dockerfile", "--target", "run", "--build-arg", "A=1",
                "--secret", "id=TOKEN,env=DGRUN_SECRET_TOKEN", fly.dir }, built.argv)
            assert_hidden(calls(), "canary-value")
            assert_hidden(calls(), "fo1_test")
            assert.equal("canary-value", built.env.DGRUN_SECRET_TOKEN)
            assert.equal(login.env.DOCKER_CONFIG, built.env.DOCKER_CONFIG)
            assert.is_false(fs.exists(built.env.DOCKER_CONFIG))
            assert.matches("@sha256:%x+$", record.value.image)
        end)
    end)
end)

describe("a build with buildah", function()
    it("builds, logs in, pushes", function()
        with({ buildah = buildah }, function(go, calls, fly)
            local record = go { label = "v1", builder = "buildah", ignorefile = "/src/.ignore",
                commit = ("b"):rep(40), args = { A = "1 2" } }
            assert.equal("done", record.status, tostring(record.error))
            local list = calls()
            assert.same({ "build", "--format", "docker", "--tag", "registry.fly.io/web:v1",
                "--ignorefile", "/src/.ignore", "--build-arg", "A=1 2", "--label",
                "org.opencontainers.image.revision=" .. ("b"):rep(40), fly.dir }, list[1].argv)
            assert.same({ "login", "--authfile", list[2].argv[3], "--username", "x",
                "--password-stdin", "registry.fly.io" }, list[2].argv)
            assert.equal("fo1_test", list[2].stdin)
            assert.equal("push", list[3].argv[1])
            assert.is_nil(table.concat(list[3].argv, " "):find("tls-verify", 1, true))
            assert_hidden(list, "fo1_test")
        end)
    end)
end)

describe("the build context", function()
    local checkouts = require "dgrun.core.checkouts"
    local toml = 'app = "web"\n[build]\n%s\n[http_service]\ninternal_port = 8080\n'

    ---A checkout whose fly.toml is in deploy/fly.
    local function with_checkout(build_lines, body)
        with({ buildah = buildah }, function(_, calls, fly, execute)
            local dir = fly.dir / "source"
            assert(fs.mkdir(dir / "deploy/fly", { parents = true }))
            assert(fs.write(dir / "deploy/fly/fly.toml", toml:format(build_lines)))
            assert(fs.write(dir / "dockerfile", "FROM scratch\n"))
            assert(fs.write(dir / "Containerfile", "FROM other\n"))
            checkouts.add(dir, ("d"):rep(40))
            body(dir, function(opts, plan)
                opts.app, opts.config = "web", dir / "deploy/fly/fly.toml"
                opts.commit = ("d"):rep(40)
                opts.build = opts.build or { builder = "buildah" }
                return execute(function() return deploy(opts) end, plan)
            end, calls, execute)
        end)
    end

    local function option(argv, name)
        for i, word in ipairs(argv) do
            if word == name then
                return argv[i + 1]
            end
        end
    end

    it("is the checkout, wherever in it the fly.toml is, with the Dockerfile at its top", function()
        with_checkout("", function(dir, go, calls)
            go {}
            local argv = calls()[1].argv
            assert.equal(dir, argv[#argv])
            assert.equal(dir / "dockerfile", option(argv, "--file"))
        end)
    end)

    it("takes [build] dockerfile and ignorefile as paths beside the fly.toml", function()
        with_checkout('dockerfile = "Dockerfile.web"\nignorefile = "../.ignore"', function(dir, go,
            calls)
            go {}
            local argv = calls()[1].argv
            assert.equal(dir, argv[#argv])
            assert.equal(dir / "deploy/fly/Dockerfile.web", option(argv, "--file"))
            assert.equal(dir / "deploy/fly/../.ignore", option(argv, "--ignorefile"))
        end)
    end)

    it("is another folder when the script says so", function()
        with_checkout("", function(dir, go, calls)
            go { context = dir / "deploy" }
            local argv = calls()[1].argv
            assert.equal(dir / "deploy", argv[#argv])
            assert.is_nil(option(argv, "--file"))
        end)
    end)

    it("gives an image in a plan that fly.deploy accepts", function()
        with_checkout("", function(dir, _, calls, execute)
            local record = execute(function()
                local built = build { app = "web", context = dir, commit = ("d"):rep(40),
                    builder = "buildah" }
                return deploy { app = "web", config = dir / "deploy/fly/fly.toml",
                    image = built.image }
            end, true)
            assert.equal("done", record.status, tostring(record.error))
            assert.equal("registry.fly.io/web:dgrun-dddddddddddd", record.value.image)
            assert.same({}, calls())
        end)
    end)

    it("is named by the commit in errors, not by its folder", function()
        local text = checkouts.readable "/tmp/x/source-1/deploy/fly.toml:5: wrong"
        assert.equal("/tmp/x/source-1/deploy/fly.toml:5: wrong", text)
        checkouts.add("/tmp/x/source-1", ("e"):rep(40))
        for given, expected in pairs {
            ["/tmp/x/source-1/deploy/fly.toml:5: wrong"] = "deploy/fly.toml:5 at eeeeeee: wrong",
            ["/tmp/x/source-1/a.toml:5:17: wrong"] = "a.toml:5:17 at eeeeeee: wrong",
            ["in /tmp/x/source-1, and /tmp/x/source-1/b"] =
                "in the checkout of eeeeeee, and b at eeeeeee",
        } do
            assert.equal(expected, checkouts.readable(given))
        end
    end)
end)

describe("the builder", function()
    it("is the first one there is, on the real Fly", function()
        local api = require "dgrun.fly.api"
        with({ docker = docker, buildah = buildah }, function(go, calls, fly)
            api.use { token = fly.sandbox.token, machines_url = fly.sandbox.url,
                api_url = fly.sandbox.url, uiex_url = fly.sandbox.url }
            local registry = fly.sandbox.url:match "^http://(.*)$"
            local record = go({ label = "v1", registry = registry }, true)
            assert.equal("docker", record.effects[1].after.builder)
            assert.same({}, calls())
        end)
        with({}, function(go, _, fly)
            api.use { token = fly.sandbox.token, machines_url = fly.sandbox.url,
                api_url = fly.sandbox.url, uiex_url = fly.sandbox.url }
            local registry = fly.sandbox.url:match "^http://(.*)$"
            assert.equal("fly.no_builder", go { label = "v1", registry = registry }.error.code)
            assert.equal("input.invalid", go { label = "v1", builder = "kaniko" }.error.code)
            assert.equal("fly.no_builder", go { label = "v1", builder = "docker" }.error.code)
        end)
    end)
end)

describe("fly.deploy via flyctl", function()
    local toml = 'app = "web"\n[http_service]\ninternal_port = 8080\n'
    local program = [[
made = sandbox("/v1/apps/web/machines", {"config": {"image": "registry.fly.io/web:a",
    "metadata": {"fly_platform_version": "v2", "fly_process_group": "app"}}})
print("Visit your newly deployed app")
print(json.dumps({"id": "rel_1", "version": 7, "image_ref": "registry.fly.io/web:a"}))
]]

    it("runs its command line and reads back the release and the machines", function()
        with({ flyctl = program }, function(_, calls, fly, execute)
            fly.register "registry.fly.io/web:a"
            local path = fly.dir / "fly.toml"
            assert(fs.write(path, toml))
            local function go(plan)
                return execute(function()
                    return deploy { app = "web", config = path, via = "flyctl",
                        image = "registry.fly.io/web:a", strategy = "bluegreen", ha = false,
                        commit = ("c"):rep(40), wait_timeout = 60, skip_release_command = true }
                end, plan)
            end
            assert.equal("fly.deploy", go(true).effects[1].kind)
            assert.same({}, calls())
            local record = go()
            assert.equal("done", record.status, tostring(record.error))
            assert.same({ "deploy", "-a", "web", "-c", path, "-y", "--image",
                "registry.fly.io/web:a", "--strategy", "bluegreen", "--wait-timeout", "60s",
                "--ha=false", "--skip-release-command" }, calls()[1].argv)
            assert.equal("1", calls()[1].env.FLY_EMIT_RELEASE_JSON)
            assert.equal(7, record.value.release.version)
            assert.equal(1, #record.value.machines)
            assert.matches("^registry.fly.io/web:a@sha256", record.value.image)
            local machine = fly.get(record.value.machines[1])
            assert.equal(("c"):rep(40), machine.config.metadata.dgrun_commit)
        end)
    end)

    it("tells how flyctl ended", function()
        for status, code in pairs { [1] = "fly.deploy_failed", [126] = "fly.timeout",
            [127] = "fly.interrupted", [0] = "fly.deploy_failed" } do
            with({ flyctl = ("sys.exit(%d)"):format(status) }, function(_, _, fly, execute)
                local path = fly.dir / "fly.toml"
                assert(fs.write(path, toml))
                local record = execute(function()
                    return deploy { app = "web", config = path, via = "flyctl" }
                end)
                assert.equal(code, record.error.code, json.encode(record.error.msg))
            end)
        end
    end)
end)
