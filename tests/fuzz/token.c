/* Strings of Fly tokens, as each API wants them. */
#include <stdint.h>

#include "http/fly_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fly_token *token = fly_token_new((const char *)data, len);
    for (int api = FLY_MACHINES; api <= FLY_UIEX; api++) {
        struct buf out;
        buf_init(&out);
        fly_token_authorization(token, (enum fly_api)api, &out);
        buf_fini(&out);
    }
    fly_token_free(token);
    return 0;
}
