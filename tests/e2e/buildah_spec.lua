local api = require "dgrun.fly.api"
local build = require("dgrun.fly.build").build
local daemon = require "support.daemon"
local ffi = require "ffi"
local fs = require "host.fs"
local json = require "dgrun.core.json"
local proc = require "host.proc"
local registry = require "support.registry"
local run = require "dgrun.run"
local secret = require "host.secret"
local task = require "dgrun.core.task"

ffi.cdef "int setenv(const char *name, const char *value, int overwrite);"

local TOKEN = "fo1_canary_of_the_registry"

---A base with what the sample's Dockerfile runs, so that nothing is downloaded: a shell, and a
---python that can only make a venv.
local function make_base(dir, name)
    assert(fs.mkdir(dir))
    assert(fs.copy("/bin/busybox", dir / "busybox"))
    assert(fs.write(dir / "python", [[
#!/bin/sh
mkdir -p /app/.venv/bin
for name in python pip; do
    printf '#!/bin/sh\necho "$@" >>/app/installed\n' >/app/.venv/bin/$name
    chmod 755 /app/.venv/bin/$name
done
]], { mode = "0755" }))
    assert(fs.write(dir / "Dockerfile", 'FROM scratch\nCOPY --chmod=755 busybox /bin/busybox\n'
        .. 'COPY --chmod=755 python /usr/bin/python\n'
        .. 'RUN ["/bin/busybox", "--install", "-s", "/bin"]\n'))
    local made = assert(proc.run { argv = { "buildah", "build", "--tag", name, dir } })
    assert(made.status == 0, made.stderr)
end

describe("buildah", function()
    it("builds the sample and pushes it to a real registry", function()
        local able = assert(proc.run { argv = daemon.is_superuser()
            and { "unshare", "--mount", "true" } or { "buildah", "unshare", "true" } })
        if able.status ~= 0 then
            pending("buildah needs a mount namespace, and this system gives none: "
                .. able.stderr:match "[^\n]*")
        end
        local dir = fs.real(assert(fs.temp_dir "buildah"))
        -- Its layers belong to the test; a container's overlay has no place for more of them.
        ffi.C.setenv("STORAGE_DRIVER", "vfs", 1)
        ffi.C.setenv("BUILDAH_ISOLATION", "chroot", 1)
        assert(fs.write(dir / "storage.conf", ('[storage]\ndriver = "vfs"\nrunroot = "%s"\n'
            .. 'graphroot = "%s"\n'):format(dir / "run", dir / "graph")))
        ffi.C.setenv("CONTAINERS_STORAGE_CONF", dir / "storage.conf", 1)
        task.defer(function()
            proc.run { argv = { "buildah", "rmi", "--all", "--force" } }
            proc.run { argv = { "rm", "-rf", dir } }
        end)
        local server = registry.start(TOKEN)
        make_base(dir / "base", "localhost/base:1")
        local root = fs.cwd()
        api.use { token = secret.new("FLY_API_TOKEN", TOKEN), machines_url = "http://127.0.0.1:1",
            api_url = "http://127.0.0.1:1", uiex_url = "http://127.0.0.1:1" }
        task.defer(function() api.use {} end)

        local said = {}
        local function go(opts)
            opts.app, opts.registry = "draft-app-prod", server.address
            opts.dir = root / "tests/fixtures/draftguru"
            opts.builder = "buildah"
            local value
            local record = run.execute({ name = "test", root = dir, observer = {
                log = function(_, _, line) said[#said + 1] = line end } },
                function() value = build(opts) end)
            record.value = value
            return record
        end
        local record = go { commit = ("d"):rep(40), args = { BASE = "localhost/base:1" } }
        assert.equal("done", record.status, tostring(record.error))
        local manifest = server.manifest("draft-app-prod", "dgrun-" .. ("d"):rep(12))
        assert.equal(manifest.headers["docker-content-digest"], record.value.digest)
        assert.equal(("%s/draft-app-prod:dgrun-%s@%s"):format(server.address, ("d"):rep(12),
            record.value.digest), record.value.image)
        local layers = 0
        for _, layer in ipairs(json.decode(manifest.body).layers) do
            layers = layers + layer.size
        end
        assert.is_true(record.value.size > layers)
        assert.matches("requirements.txt", table.concat(said, "\n"), 1, true)
        assert.is_nil(table.concat(said, "\n"):find(TOKEN, 1, true))

        -- The registry has it: nothing is built again.
        assert.same({}, go { commit = ("d"):rep(40), args = { BASE = "localhost/base:1" } }.effects)

        local failed = go { label = "v2", args = { BASE = "localhost/base:1" },
            target = "nosuchstage" }
        assert.equal("fly.build_failed", failed.error.code)
        api.use { token = secret.new("FLY_API_TOKEN", "another_token"),
            machines_url = "http://127.0.0.1:1" }
        assert.equal("fly.unauthorized", go({ label = "v3" }).error.code)
    end)
end)
