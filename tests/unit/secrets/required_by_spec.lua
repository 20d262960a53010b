-- Applications with real pydantic classes: Debian 12 has version 1; version 2 is tested where
-- python3 in PATH, or the one that DGRUN_TEST_PYDANTIC2 names, has pydantic-settings (Debian 13).
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local fs = require "host.fs"
local proc = require "host.proc"
local project = require "support.project"
local run = require "dgrun.run"
local secret = require "host.secret"
local secrets = require "dgrun.secrets"
local time = require "host.time"

-- Other processes have a part in it: their time does not jump.
before_each(function() time.pause(false) end)

local DEBIAN = "/usr/bin/python3"

local one = [[
from typing import List, Optional
from pydantic import BaseModel, BaseSettings, Field
print("the module says something")

class Db(BaseModel):
    host: str

class Settings(BaseSettings):
    database_url: str
    log_level: str = "INFO"
    maybe: Optional[str]
    hosts: List[str] = Field(default_factory=list)
    db: Db
    token: str = Field(..., env=["TOKEN", "OLD_TOKEN"])
    api_key: str = Field(..., env="API_KEY")

    class Config:
        env_prefix = "APP_"
        env_nested_delimiter = "__"

class Exact(BaseSettings):
    Region: str
    class Config:
        case_sensitive = True

settings = Settings()
url = settings.database_url + "/x"
]]

local two = [[
from typing import List, Optional
from pydantic import AliasChoices, BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict
print("the module says something")

class Db(BaseModel):
    host: str

class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="APP_", env_nested_delimiter="__")
    database_url: str
    log_level: str = "INFO"
    maybe: Optional[str] = None
    hosts: List[str] = Field(default_factory=list)
    db: Optional[Db]
    token: str = Field(validation_alias=AliasChoices("TOKEN", "OLD_TOKEN"))
    api_key: str = Field(alias="API_KEY")

class Exact(BaseSettings):
    model_config = SettingsConfigDict(case_sensitive=True)
    Region: str

settings = Settings()
url = settings.database_url + "/x"
]]

local function application(settings, files)
    local all = { ["app/__init__.py"] = "", ["app/settings.py"] = settings }
    for name, text in pairs(files or {}) do
        all[name] = text
    end
    return project.make(all)
end

local function caught(f, ...)
    local ok, e = pcall(f, ...)
    assert.is_false(ok, "no error")
    return err.object(e)
end

local function has(python, module)
    local result = proc.run { argv = { python, "-c", "import " .. module }, timeout = 60 }
    return result ~= nil and result.status == 0
end

---The class for the version of pydantic that Debian's Python has.
local function debians()
    return has(DEBIAN, "pydantic_settings") and two or one
end

local function honours_class(python, source, library)
    local dir = application(source)
    local given = { APP_DATABASE_URL = secret.new("U", "u-value"), TOKEN = "t", API_KEY = "k",
        APP_DB__HOST = "h", OTHER = "o" }
    local found = secrets.required_by { dir = dir, python = python, secrets = given }
    assert.is_true(found.asked, found.reason)
    assert.matches("^" .. library, found.library)
    assert.same({ "APP_DATABASE_URL", "APP_DB", "TOKEN", "API_KEY" }, found.required)
    assert.same({ "APP_LOG_LEVEL", "APP_MAYBE", "APP_HOSTS" }, found.optional)
    assert.same({ "OTHER" }, found.unread)
    assert.is_false(fs.exists(dir / "app/__pycache__"), "it changes nothing")

    given = { DATABASE_URL = "no prefix", old_token = "t", APP_API_KEY = "a prefix too many" }
    local e = caught(secrets.required_by, { dir = dir, python = python, secrets = given })
    assert.equal("secrets.undeclared_setting", e.code)
    assert.same({ "APP_DATABASE_URL", "APP_DB", "API_KEY" }, e.names)
    assert.equal(2, require("dgrun.cli.exit_status").of(e))

    e = caught(secrets.required_by, { dir = dir, python = python, secrets = { REGION = "r" },
        settings = "app.settings:Exact" })
    assert.same({ "Region" }, e.names)
    found = secrets.required_by { dir = dir, python = python, secrets = { Region = "r" },
        settings = "app.settings:Exact" }
    assert.same({ "Region" }, found.required)
end

describe("secrets.required_by", function()
    it("honours prefix, aliases and parts of a class of pydantic 1", function()
        if has(DEBIAN, "pydantic_core") then
            return pending "Debian's Python has pydantic 2, and no pydantic 1"
        end
        honours_class(DEBIAN, one, "pydantic 1")
    end)

    it("honours those of a class of pydantic-settings", function()
        local python = os.getenv "DGRUN_TEST_PYDANTIC2" or "python3"
        if not has(python, "pydantic_settings") then
            return pending "no Python here has pydantic-settings"
        end
        honours_class(python, two, "pydantic%-settings 2")
    end)

    it("counts [env] of the fly.toml, what Fly sets, and what the call names", function()
        local dir = application([[
try:
    from pydantic_settings import BaseSettings
except ImportError:
    from pydantic import BaseSettings
class Settings(BaseSettings):
    port: int
    mode: str
    fly_app_name: str
    primary_region: str
    of_the_image: str
]], { ["fly.toml"] = "app = 'x'\n[env]\nPORT = 8080\n", ["other.toml"] = "app = 'x'\n" })
        local found = secrets.required_by { dir = dir, python = DEBIAN, secrets = { MODE = "m" },
            also = { "OF_THE_IMAGE" } }
        assert.equal(5, #found.required)
        local e = caught(secrets.required_by, { dir = dir, python = DEBIAN, secrets = {},
            config = "other.toml" })
        assert.same({ "PORT", "MODE", "OF_THE_IMAGE" }, e.names)
    end)

    it("compares with what an environment declares and has", function()
        local dir = application([[
try:
    from pydantic_settings import BaseSettings
except ImportError:
    from pydantic import BaseSettings
class Settings(BaseSettings):
    r_required: str
    r_literal: str
    r_optional: str
    r_config: str
    r_unknown: str
]], { ["fly.prod.toml"] = "app = 'x'\n[env]\nR_CONFIG = '1'\n", [".env"] = "R_REQUIRED=x-value\n",
            ["scripts/environments.yaml"] = [[
environments:
  prod:
    app: x
    config: fly.prod.toml
    secrets:
      sources: [dotenv: .env]
      required: [R_REQUIRED]
      optional: [R_OPTIONAL]
      literal: { R_LITERAL: l }
]] })
        environment.look_from(dir / "scripts")
        local env = environment.get("prod", { lazy = true })
        local e = caught(secrets.required_by, { dir = dir, python = DEBIAN, secrets = env.secrets })
        assert.same({ "R_OPTIONAL", "R_UNKNOWN" }, e.names)
        assert.matches("environment 'prod' does not provide:\n"
            .. "  R_OPTIONAL, which is declared optional and has no value in any source\n"
            .. "  R_UNKNOWN", e.msg)
        assert.matches("Add them to the required secrets in .*/scripts/environments.yaml", e.hint)
        assert(fs.write(dir / ".env", "R_REQUIRED=x-value\nR_OPTIONAL=y-value\n"))
        environment.look_from(dir / "scripts")
        env = environment.get("prod", { lazy = true })
        e = caught(secrets.required_by, { dir = dir, python = DEBIAN, secrets = env.secrets })
        assert.same({ "R_UNKNOWN" }, e.names)
    end)

    it("notes an application that cannot be asked", function()
        local dir = application("class Settings:\n    pass\n", {
            ["app/broken.py"] = "import os\nos.environ['R_NOT_THERE']\n",
            ["app/leaves.py"] = "import sys\nsys.exit('the application left')\n",
            ["app/lacks.py"] = "import no_such_package\n",
        })
        for settings, reason in pairs {
            ["app.nosuch:Settings"] = "no module named app.nosuch",
            ["nosuch.settings:Settings"] = "no module named nosuch",
            ["app.settings:Setings"] = "app.settings has no Setings",
            ["app.settings:Settings"] = "app.settings:Settings is not a pydantic BaseSettings "
                .. "class",
            ["app.broken:Settings"] = "importing app.broken raised KeyError: 'R_NOT_THERE'",
            ["app.leaves:Settings"] = "raised SystemExit: the application left",
            ["app.lacks:Settings"] = "ModuleNotFoundError: No module named 'no_such_package'",
        } do
            run.execute({ name = "t", root = "/nowhere", journal = false }, function(r)
                local found = secrets.required_by { dir = dir, python = DEBIAN,
                    settings = settings, secrets = {} }
                assert.is_false(found.asked)
                assert.matches(reason, found.reason, 1, true)
                assert.equal(1, #r.notes)
                assert.matches("cannot determine the settings that " .. settings .. " requires: ",
                    r.notes[1].text,
                    1, true)
            end)
        end
    end)

    it("says which Python was not there, or is none", function()
        local dir = application(one)
        local found = secrets.required_by { dir = dir, python = "no-such-python", secrets = {} }
        assert.matches("no-such-python", found.reason, 1, true)
        found = secrets.required_by { dir = dir, python = { "sh", "-c", "echo nothing; exit 3" },
            secrets = {} }
        assert.matches("sh exited with status 3", found.reason)
        found = secrets.required_by { dir = dir, python = { "sleep", "60" }, secrets = {},
            timeout = 0.2 }
        assert.is_false(found.asked)
    end)

    it("asks the Python of the application's .venv first", function()
        local dir = application(debians())
        fs.mkdir(dir / ".venv/bin", { parents = true })
        fs.write(dir / ".venv/bin/python", "#!/bin/sh\nexec " .. DEBIAN .. ' "$@"\n',
            { mode = "0755" })
        assert.same({ dir / ".venv/bin/python" }, require("dgrun.project.python").find(dir))
        assert.equal("secrets.undeclared_setting",
            caught(secrets.required_by, { dir = dir, secrets = {} }).code)
    end)

    it("can be asked in a plan", function()
        local dir = application(debians())
        local r = run.execute({ name = "t", root = "/nowhere", plan = true }, function()
            secrets.required_by { dir = dir, python = DEBIAN, secrets = {} }
        end)
        assert.equal("secrets.undeclared_setting", r.error.code)
    end)

    it("refuses wrong arguments", function()
        assert.equal("input.invalid",
            caught(secrets.required_by, { dir = ".", secrets = {}, settings = "app" }).code)
        assert.equal("input.unknown_option",
            caught(secrets.required_by, { dir = ".", secrets = {}, setting = "a:b" }).code)
    end)
end)
