#pragma once
/* A Fly token string may hold several tokens, and each API wants them in its own way.
   docs/fly/machines-api.md, section 2. */
#include <stddef.h>

#include "base/buf.h"

struct fly_token;

enum fly_api { FLY_MACHINES, FLY_GRAPHQL, FLY_UIEX };

struct fly_token *fly_token_new(const char *text, size_t len);
void fly_token_free(struct fly_token *t); /* wipes; NULL is fine */

/* Appends the value of the Authorization header; nothing when there is no token in it. */
void fly_token_authorization(const struct fly_token *t, enum fly_api api,
                             struct buf *out);
