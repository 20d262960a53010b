/* host.digest: what libcrypto is needed for. */
#include <lauxlib.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/modules.h"
#include "secret/secret.h"

enum { KEY_SIZE = 32, NONCE_SIZE = 12, TAG_SIZE = 16, HEAD_SIZE = NONCE_SIZE + TAG_SIZE };

static const size_t value_limit = (size_t)16 * 1024 * 1024;

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

static void push_base64(lua_State *L, const unsigned char *bytes, size_t len)
{
    unsigned char *text = mem_alloc(4 * ((len + 2) / 3) + 1);
    int size = EVP_EncodeBlock(text, bytes, (int)len);
    lua_pushlstring(L, (const char *)text, (size_t)size);
    mem_free(text);
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

/* random_key() → hex of 32 random bytes */
static int l_random_key(lua_State *L)
{
    unsigned char key[KEY_SIZE];
    if (RAND_bytes(key, sizeof key) != 1)
        return err_return(L, err_new("digest.failed", "digest.random_key",
                                     "the system returned no random bytes"));
    return push_hex(L, key, sizeof key);
}

static void check_key(lua_State *L, int index, const char *op, unsigned char *key)
{
    size_t len;
    const char *hex = check_bytes(L, index, op, &len);
    size_t size = 0;
    if (len != (size_t)KEY_SIZE * 2 ||
        !OPENSSL_hexstr2buf_ex(key, KEY_SIZE, &size, hex, '\0'))
        err_argument(L, op, "the key is not %d bytes in hex", KEY_SIZE);
}

/* encrypt(string|sealed, key) → base64 of nonce, tag and AES-256-GCM text */
static int l_encrypt(lua_State *L)
{
    size_t len;
    const char *bytes = check_bytes(L, 1, "digest.encrypt", &len);
    unsigned char key[KEY_SIZE];
    check_key(L, 2, "digest.encrypt", key);
    if (len > value_limit)
        return err_argument(L, "digest.encrypt", "the value is too long");
    unsigned char *box = mem_alloc(HEAD_SIZE + len);
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    int used = 0, last = 0;
    bool done =
        cipher && RAND_bytes(box, NONCE_SIZE) == 1 &&
        EVP_EncryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, box) &&
        EVP_EncryptUpdate(cipher, box + HEAD_SIZE, &used, (const unsigned char *)bytes,
                          (int)len) &&
        EVP_EncryptFinal_ex(cipher, box + HEAD_SIZE + used, &last) &&
        EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, TAG_SIZE, box + NONCE_SIZE);
    EVP_CIPHER_CTX_free(cipher);
    mem_wipe(key, sizeof key);
    if (done)
        push_base64(L, box, HEAD_SIZE + len);
    mem_free(box);
    return done ? 1
                : err_return(
                      L, err_new("digest.failed", "digest.encrypt", "AES-GCM failed"));
}

/* decrypt(text, key, name) → sealed | nil, err */
static int l_decrypt(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    unsigned char key[KEY_SIZE];
    check_key(L, 2, "digest.decrypt", key);
    const char *name = luaL_checkstring(L, 3);
    unsigned char *box = mem_alloc(len + 1);
    int size = len > 2 * value_limit
                   ? -1
                   : EVP_DecodeBlock(box, (const unsigned char *)text, (int)len);
    while (size > 0 && len && text[len - 1] == '=') {
        size--;
        len--;
    }
    unsigned char *value = mem_alloc((size_t)(size > 0 ? size : 0) + 1);
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    int used = 0, last = 0;
    bool done =
        size >= HEAD_SIZE && cipher &&
        EVP_DecryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, box) &&
        EVP_DecryptUpdate(cipher, value, &used, box + HEAD_SIZE, size - HEAD_SIZE) &&
        EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_SET_TAG, TAG_SIZE, box + NONCE_SIZE) &&
        EVP_DecryptFinal_ex(cipher, value + used, &last);
    EVP_CIPHER_CTX_free(cipher);
    mem_wipe(key, sizeof key);
    if (done)
        secret_push(L, secret_derive(name, value, (size_t)used + (size_t)last));
    mem_wipe(value, (size_t)(size > 0 ? size : 0));
    mem_free(value);
    mem_free(box);
    return done ? 1
                : err_return(L, err_new("digest.failed", "digest.decrypt",
                                        "%s: not encrypted with this key", name));
}

/* base64(string) → string, base64(sealed) → sealed */
static int l_base64(lua_State *L)
{
    size_t len;
    const char *bytes = check_bytes(L, 1, "digest.base64", &len);
    if (len > value_limit)
        return err_argument(L, "digest.base64", "the value is too long");
    const struct secret *sealed = secret_test(L, 1);
    if (!sealed) {
        push_base64(L, (const unsigned char *)bytes, len);
        return 1;
    }
    size_t size = 4 * ((len + 2) / 3);
    unsigned char *text = mem_alloc(size + 1);
    EVP_EncodeBlock(text, (const unsigned char *)bytes, (int)len);
    secret_push(L, secret_derive(secret_name(sealed), text, size));
    mem_wipe(text, size);
    mem_free(text);
    return 1;
}

int luaopen_host_digest(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        {"sha256", l_sha256},
        {"fingerprint", l_fingerprint},
        {"random_key", l_random_key},
        {"encrypt", l_encrypt},
        {"decrypt", l_decrypt},
        {"base64", l_base64},
        {NULL, NULL},
    };
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
