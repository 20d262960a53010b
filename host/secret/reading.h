#pragma once
/* One way to read a text in search of the patterns: percent-decoded, backslash-decoded,
   or with the newlines within base64 dropped. It exists only from the first character
   that it reads differently from how it stands until nothing it has in hand stems from
   one; the rest of the time it would be where the plain reading is. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "secret/trie.h"

enum reading_kind {
    READING_PERCENT,
    READING_FORM, /* percent-decoded, with '+' as a space */
    READING_BACKSLASH,
    READING_UNWRAPPED,
    READING_KINDS
};

enum { READING_ESCAPE_MAX = 12 };

struct reading {
    enum reading_kind kind;
    const struct trie *patterns;
    void (*match)(void *data, uint64_t start, uint64_t end); /* positions in the source */
    void *data;

    bool active;
    bool indent; /* unwrapped: behind a newline, blanks are dropped too */
    uint32_t state;
    uint64_t fork;  /* where it left the plain reading */
    uint64_t count; /* bytes read since then */
    uint64_t plain; /* of those, how many at the end stood so in the source */
    unsigned char escape[READING_ESCAPE_MAX];
    size_t escaped; /* bytes of an escape that is not complete yet */
    uint64_t escape_start;
    uint64_t *starts; /* ring: where the last bytes read stand in the source */
    uint64_t ring_mask;
};

/* For new patterns: forgets what it has in hand. */
void reading_reset(struct reading *r);
void reading_fini(struct reading *r);

/* The source has `c` at `at`, and the plain reading is in `plain_state` before it.
   Returns whether the reading is active, that is, wants to see the next character
   whatever it is. */
bool reading_feed(struct reading *r, uint32_t plain_state, unsigned char c, uint64_t at);

/* Where the earliest match begins that an active reading may still find. */
uint64_t reading_pending(const struct reading *r, uint64_t pos);
