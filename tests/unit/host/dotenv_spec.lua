local dotenv = require "host.dotenv"
local fs = require "host.fs"
local secret = require "host.secret"

describe("host.dotenv", function()
    it("gives sealed values with their lines", function()
        local found = assert(dotenv.parse("A_KEY=dotenv-first\n\nexport B_KEY='dotenv second'\n"))
        assert.equal(2, #found)
        assert.equal("A_KEY", found[1].name)
        assert.equal("secret(B_KEY)", tostring(found[2].value))
        assert.equal(3, found[2].line)
        assert.is_true(found[2].value == secret.new("X", "dotenv second"))
        assert.equal("*** and ***", secret.redact("dotenv-first and dotenv second"))
    end)

    it("seals only the names that are asked for", function()
        local found = assert(dotenv.parse("PORT=the-port\nTOKEN=the-token\n", ".env",
            { names = { "TOKEN", "OTHER" } }))
        assert.equal(1, #found)
        assert.equal("TOKEN", found[1].name)
        assert.equal("the-port ***", secret.redact("the-port the-token"))
    end)

    it("reads a sealed text, as a decrypted file is", function()
        local text = secret.new("FILE", "SEALED_ENTRY=within\n")
        assert.equal("SEALED_ENTRY", dotenv.parse(text)[1].name)
    end)

    it("expands nothing, and says where a shell would have", function()
        local found = assert(dotenv.parse("A=x:${B}@h\nB='${C}'\nC=pa$$word\nD=\"$(id)\"\n"))
        assert.is_true(found[1].value == secret.new("X", "x:${B}@h"))
        assert.is_true(found[4].value == secret.new("X", "$(id)"))
        assert.same({ true, "", "", true },
            { found[1].expands, found[2].expands or "", found[3].expands or "", found[4].expands })
    end)

    it("reads what editors and systems make of a file", function()
        local found = assert(dotenv.parse("\239\187\191export A=dotenv-crlf # c\r\n"
            .. "B=\"two\r\nlines\"\r\nexport B\r\n"))
        assert.is_true(found[1].value == secret.new("X", "dotenv-crlf"))
        assert.is_true(found[2].value == secret.new("X", "two\nlines"))
        assert.equal(2, #found)
        local _, e = dotenv.parse("\255\254A\0=\0")
        assert.matches("UTF%-16", e.msg)
    end)

    it("names file and line, and quotes no value", function()
        local found, e = dotenv.parse("A=fine\nB='hunter2", "prod.env")
        assert.is_nil(found)
        assert.equal("dotenv.syntax", e.code)
        assert.equal(2, e.line)
        assert.equal("prod.env", e.source)
        assert.is_nil(e.msg:find("hunter2", 1, true))
    end)

    it("reads files", function()
        local dir = assert(fs.temp_dir("dotenv-spec"))
        assert(fs.write(dir .. "/.env", "FROM_FILE=dotenv-file-value\n"))
        assert.equal("FROM_FILE", dotenv.read(dir .. "/.env")[1].name)
        local found, e = dotenv.read(dir .. "/none")
        assert.is_nil(found)
        assert.equal("dotenv.not_found", e.code)
        assert(fs.remove(dir, { recursive = true }))
    end)
end)
