/* host.digest: what libcrypto is needed for. */
#include <lauxlib.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "err.h"
#include "secret.h"

static int push_hex(lua_State *L, const unsigned char *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    char text[2 * EVP_MAX_MD_SIZE];
    for (size_t i = 0; i < len; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    lua_pushlstring(L, text, 2 * len);
    return 1;
}

static const char *check_bytes(lua_State *L, int index, const char *op, size_t *len)
{
    const char *bytes = secret_bytes(L, index, len);
    if (!bytes)
        err_argument(L, op, "needs a string or a sealed value, not %s",
                     luaL_typename(L, index));
    return bytes;
}

/* sha256(string|sealed) → hex */
static int l_sha256(lua_State *L)
{
    size_t len;
    const char *bytes = check_bytes(L, 1, "digest.sha256", &len);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (!EVP_Digest(bytes, len, digest, &size, EVP_sha256(), NULL))
        return err_return(L, err_new("digest.failed", "digest.sha256", "SHA-256 failed"));
    return push_hex(L, digest, size);
}

/* fingerprint(string|sealed, key) → hex: HMAC-SHA256, so that equal values can be told
   without a table of common values telling which they are */
static int l_fingerprint(lua_State *L)
{
    size_t len, key_len;
    const char *bytes = check_bytes(L, 1, "digest.fingerprint", &len);
    const char *key = check_bytes(L, 2, "digest.fingerprint", &key_len);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (key_len > 1 << 20)
        return err_argument(L, "digest.fingerprint", "the key is too long");
    if (!HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)bytes, len, digest,
              &size))
        return err_return(L,
                          err_new("digest.failed", "digest.fingerprint", "HMAC failed"));
    return push_hex(L, digest, size);
}

int luaopen_host_digest(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        {"sha256", l_sha256},
        {"fingerprint", l_fingerprint},
        {NULL, NULL},
    };
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
