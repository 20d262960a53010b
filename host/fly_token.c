#include "fly_token.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "mem.h"

struct fly_token {
    struct buf macaroons; /* joined with commas */
    struct buf users;
};

static void trim(const char **text, size_t *len)
{
    while (*len && strchr(" \t\r\n", **text)) {
        ++*text;
        --*len;
    }
    while (*len && strchr(" \t\r\n", (*text)[*len - 1]))
        --*len;
}

static bool strip_scheme(const char **text, size_t *len)
{
    static const char *const schemes[] = {"Bearer ", "FlyV1 "};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t n = strlen(schemes[i]);
        if (*len >= n && strncasecmp(*text, schemes[i], n) == 0) {
            *text += n;
            *len -= n;
            trim(text, len);
            return true;
        }
    }
    return false;
}

static bool is_macaroon(const char *part, size_t len)
{
    static const char *const kinds[] = {"fm1r_", "fm1a_", "fm2_"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t n = strlen(kinds[i]);
        if (len >= n && memcmp(part, kinds[i], n) == 0)
            return true;
    }
    return false;
}

static void add_part(struct buf *list, const char *part, size_t len)
{
    if (list->len)
        buf_add_char(list, ',');
    buf_add(list, part, len);
}

struct fly_token *fly_token_new(const char *text, size_t len)
{
    struct fly_token *t = mem_alloc(sizeof *t);
    trim(&text, &len);
    while (strip_scheme(&text, &len))
        continue;
    while (len) {
        const char *comma = memchr(text, ',', len);
        const char *part = text;
        size_t part_len = comma ? (size_t)(comma - text) : len;
        size_t used = comma ? part_len + 1 : part_len;
        text += used;
        len -= used;
        trim(&part, &part_len);
        if (part_len)
            add_part(is_macaroon(part, part_len) ? &t->macaroons : &t->users, part,
                     part_len);
    }
    return t;
}

void fly_token_free(struct fly_token *t)
{
    if (!t)
        return;
    buf_fini_wiped(&t->macaroons);
    buf_fini_wiped(&t->users);
    mem_free(t);
}

void fly_token_authorization(const struct fly_token *t, enum fly_api api, struct buf *out)
{
    bool macaroons = t->macaroons.len > 0;
    bool users = t->users.len > 0 && !(api == FLY_MACHINES && macaroons);
    if (!macaroons && !users)
        return;
    buf_add_text(out, macaroons && api != FLY_UIEX ? "FlyV1 " : "Bearer ");
    if (macaroons)
        buf_add(out, t->macaroons.data, t->macaroons.len);
    if (macaroons && users)
        buf_add_char(out, ',');
    if (users)
        buf_add(out, t->users.data, t->users.len);
}
