/* The string is split once, into macaroons and the other tokens, each kept as one sealed
   list with commas. A request then picks: the Machines API gets the macaroons alone where
   there are any, the other APIs get both lists, and the scheme is FlyV1 with macaroons,
   except for uiex, which wants Bearer. */
#include "http/fly_token.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "secret/secret.h"

struct fly_token {
    struct secret *macaroons; /* joined with commas; NULL: none */
    struct secret *users;
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

/* Takes over the bytes, and registers them with the redactor: the order of the parts may
   differ from that of the string. */
static struct secret *sealed(struct buf *list)
{
    struct secret *s =
        list->len ? secret_new("FLY_API_TOKEN", list->data, list->len) : NULL;
    buf_fini_wiped(list);
    return s;
}

struct fly_token *fly_token_new(const char *text, size_t len)
{
    struct buf macaroons, users;
    buf_init(&macaroons);
    buf_init(&users);
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
            add_part(is_macaroon(part, part_len) ? &macaroons : &users, part, part_len);
    }
    struct fly_token *t = mem_alloc(sizeof *t);
    t->macaroons = sealed(&macaroons);
    t->users = sealed(&users);
    return t;
}

void fly_token_free(struct fly_token *t)
{
    if (!t)
        return;
    secret_unref(t->macaroons);
    secret_unref(t->users);
    mem_free(t);
}

static void add_secret(struct buf *out, const struct secret *s)
{
    size_t len;
    const char *text = secret_open(s, &len);
    buf_add(out, text, len);
}

void fly_token_authorization(const struct fly_token *t, enum fly_api api, struct buf *out)
{
    bool users = t->users && !(api == FLY_MACHINES && t->macaroons);
    if (!t->macaroons && !users)
        return;
    buf_add_text(out, t->macaroons && api != FLY_UIEX ? "FlyV1 " : "Bearer ");
    if (t->macaroons)
        add_secret(out, t->macaroons);
    if (t->macaroons && users)
        buf_add_char(out, ',');
    if (users)
        add_secret(out, t->users);
}
