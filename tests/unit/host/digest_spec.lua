local digest = require "host.digest"
local secret = require "host.secret"

describe("host.digest", function()
    it("makes SHA-256 of strings and sealed values", function()
        local abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        assert.equal(abc, digest.sha256("abc"))
        assert.equal(abc, digest.sha256(secret.new("A", "abc")))
        assert.equal("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            digest.sha256(""))
    end)

    it("makes HMAC-SHA256 fingerprints", function() -- RFC 4231, test case 2
        local expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        assert.equal(expected, digest.fingerprint("what do ya want for nothing?", "Jefe"))
        local sealed = secret.new("A", "what do ya want for nothing?")
        assert.equal(expected, digest.fingerprint(sealed, "Jefe"))
        assert.not_equal(expected, digest.fingerprint(sealed, "other key"))
        assert.equal(64, #digest.fingerprint("", ""))
    end)

    it("refuses other values", function()
        local ok, e = pcall(digest.sha256, 12)
        assert.is_false(ok)
        assert.equal("input.invalid", e.code)
        assert.is_false(pcall(digest.fingerprint, "x"))
    end)
end)
