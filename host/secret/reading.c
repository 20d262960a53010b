/* The bytes of the source go through one or two stages, each of which takes escapes for
   what they stand for, and then along the automaton. A stage keeps an escape until it is
   complete. If it turns out not to be an escape, its first character stands for itself
   and the others are read again.

   A byte of the decoded text may stem from several bytes of the source, so a ring records
   where each decoded byte begins. The ring is as long as the longest pattern. What lies
   before the fork was read as it stands, so positions there are counted back from it.

   `plain` counts the last decoded bytes that the source has without an escape. When the
   state of the automaton is no deeper than `plain` and no escape is open, the plain
   reading is in the same state, and this reading ends. */
#include "secret/reading.h"

#include <ctype.h>
#include <string.h>

#include "base/mem.h"

/* Where the byte stands that was read `back` bytes ago (1: the last one). */
static uint64_t start_of(const struct reading *r, uint64_t back)
{
    if (back > r->count)
        return r->fork - (back - r->count);
    return r->starts[(r->count - back) & r->ring_mask];
}

static void match_byte(struct reading *r, struct reading_byte b)
{
    r->starts[r->count & r->ring_mask] = b.start;
    r->count++;
    r->plain = b.plain ? r->plain + 1 : 0;
    uint32_t next = trie_step(r->patterns, r->state, b.value);
    const struct trie_node *node = &r->patterns->nodes[next];
    if (node->longest)
        r->match(r->data, start_of(r, node->longest), b.end);
    r->state = node->resume;
}

static void feed(struct reading *r, size_t stage, struct reading_byte b);

/* An escape stood for a character that begins an escape: there, decoding twice parts from
   decoding once. */
static void part_twice(struct reading *once, struct reading_byte b)
{
    struct reading *r = once->twice;
    uint64_t kept = once->patterns->nodes[once->state].depth;
    r->state = once->state;
    r->fork = once->fork;
    r->count = once->count;
    r->plain = once->plain;
    for (uint64_t i = 1; i <= kept && i <= once->count; i++) {
        uint64_t at = (once->count - i) & once->ring_mask;
        r->starts[at] = once->starts[at];
    }
    r->stages[0].count = r->stages[1].count = 0;
    r->active = true;
    feed(r, 1, b);
}

static bool begins_escape(enum reading_kind kind, unsigned char c)
{
    return reading_parting(c) & 1U << kind;
}

/* What a stage has read goes to the next one, and from the last one to the patterns. */
static void pass(struct reading *r, size_t stage, struct reading_byte b)
{
    if (stage == 0 && r->kind <= READING_BACKSLASH_TWICE) {
        feed(r, 1, b);
        return;
    }
    if (!b.plain && r->twice && !r->twice->active && begins_escape(r->kind, b.value))
        part_twice(r, b);
    match_byte(r, b);
}

static void escape_add(struct reading *r, size_t stage, struct reading_byte b)
{
    struct reading_stage *s = &r->stages[stage];
    s->bytes[s->count++] = b;
}

/* It was no escape: its first character stands for itself, the rest is read again. */
static void escape_spill(struct reading *r, size_t stage)
{
    struct reading_stage *s = &r->stages[stage];
    struct reading_byte bytes[READING_ESCAPE_MAX];
    size_t count = s->count;
    memcpy(bytes, s->bytes, count * sizeof *bytes);
    s->count = 0;
    pass(r, stage, bytes[0]);
    for (size_t i = 1; i < count; i++)
        feed(r, stage, bytes[i]);
}

static unsigned hex_number(const struct reading_byte *digits, size_t len)
{
    unsigned value = 0;
    for (size_t i = 0; i < len; i++) {
        int c = tolower(digits[i].value);
        value = value << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return value;
}

/* The escape of this stage is complete, and stands for this byte. */
static void pass_value(struct reading *r, size_t stage, unsigned value)
{
    struct reading_stage *s = &r->stages[stage];
    struct reading_byte b = {.start = s->bytes[0].start,
                             .end = s->bytes[s->count - 1].end,
                             .value = (unsigned char)value};
    s->count = 0;
    pass(r, stage, b);
}

static void pass_code_point(struct reading *r, size_t stage, unsigned code)
{
    struct reading_stage *s = &r->stages[stage];
    struct reading_byte b = {.start = s->bytes[0].start,
                             .end = s->bytes[s->count - 1].end};
    static const unsigned char marks[] = {0, 0xc0, 0xe0, 0xf0};
    size_t more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    s->count = 0;
    b.value = (unsigned char)(marks[more] | code >> (6 * more));
    pass(r, stage, b);
    while (more-- > 0) {
        b.value = (unsigned char)(0x80 | ((code >> (6 * more)) & 0x3f));
        pass(r, stage, b);
    }
}

static void feed_percent(struct reading *r, size_t stage, struct reading_byte b)
{
    struct reading_stage *s = &r->stages[stage];
    bool is_form = r->kind == READING_FORM || r->kind == READING_FORM_TWICE;
    if (s->count && !isxdigit(b.value)) {
        escape_spill(r, stage);
        feed(r, stage, b);
    } else if (s->count) {
        escape_add(r, stage, b);
        if (s->count == 3)
            pass_value(r, stage, hex_number(s->bytes + 1, 2));
    } else if (b.value == '%') {
        escape_add(r, stage, b);
    } else {
        if (is_form && b.value == '+') {
            b.value = ' ';
            b.plain = false;
        }
        pass(r, stage, b);
    }
}

/* One more character of "\n", "\x1b", "\u00e9" or a surrogate pair. False: it does not
 * belong. */
static bool escape_more(struct reading *r, size_t stage, struct reading_byte b)
{
    static const char letters[] = "ntrbf/\"'\\", meanings[] = "\n\t\r\b\f/\"'\\";
    struct reading_stage *s = &r->stages[stage];
    size_t n = s->count;
    unsigned char c = b.value;
    if (n == 1 || n == 7) {
        const char *letter = n == 1 && c ? strchr(letters, c) : NULL;
        if (letter) {
            escape_add(r, stage, b);
            pass_value(r, stage, (unsigned char)meanings[letter - letters]);
            return true;
        }
        if (c != 'u' && (c != 'x' || n == 7))
            return false;
    } else if (n == 6 ? c != '\\' : !isxdigit(c)) {
        return false;
    }
    escape_add(r, stage, b);
    n++;
    if (s->bytes[1].value == 'x' && n == 4) {
        pass_value(r, stage, hex_number(s->bytes + 2, 2));
    } else if (n == 6) {
        unsigned code = hex_number(s->bytes + 2, 4);
        if (code >> 10 != 0xd800 >> 10)
            pass_code_point(r, stage, code);
    } else if (n == 12) {
        unsigned high = hex_number(s->bytes + 2, 4), low = hex_number(s->bytes + 8, 4);
        pass_code_point(r, stage, 0x10000 + ((high & 0x3ff) << 10) + (low & 0x3ff));
    }
    return true;
}

static void feed_backslash(struct reading *r, size_t stage, struct reading_byte b)
{
    size_t escaped = r->stages[stage].count;
    if (!escaped && b.value == '\\') {
        escape_add(r, stage, b);
    } else if (!escaped) {
        pass(r, stage, b);
    } else if (!escape_more(r, stage, b)) {
        escape_spill(r, stage);
        feed(r, stage, b);
    }
}

/* The code point of "&amp;", "&#38;" or "&#x26;" without its semicolon; 0: it is none. */
static unsigned entity_code(const struct reading_stage *s)
{
    static const struct {
        const char *name;
        unsigned code;
    } names[] = {{"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}};
    char text[READING_ESCAPE_MAX] = "";
    for (size_t i = 1; i < s->count; i++)
        text[i - 1] = (char)s->bytes[i].value;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i].name) == 0)
            return names[i].code;
    unsigned code = 0;
    bool is_hex = tolower((unsigned char)text[1]) == 'x';
    const char *digits = text + (is_hex ? 2 : 1);
    if (*text != '#' || !*digits)
        return 0;
    for (; *digits; digits++) {
        if (is_hex ? !isxdigit((unsigned char)*digits) : !isdigit((unsigned char)*digits))
            return 0;
        int c = tolower((unsigned char)*digits);
        code = code * (is_hex ? 16 : 10) + (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
        if (code > 0x10ffff)
            return 0;
    }
    return code;
}

static void feed_html(struct reading *r, size_t stage, struct reading_byte b)
{
    struct reading_stage *s = &r->stages[stage];
    unsigned code;
    if (!s->count && b.value != '&') {
        pass(r, stage, b);
    } else if (!s->count || ((isalnum(b.value) || b.value == '#') &&
                             s->count < READING_ESCAPE_MAX - 1)) {
        escape_add(r, stage, b);
    } else if (b.value == ';' && (code = entity_code(s)) != 0) {
        escape_add(r, stage, b);
        pass_code_point(r, stage, code);
    } else {
        escape_spill(r, stage);
        feed(r, stage, b);
    }
}

static void feed_unwrap(struct reading *r, size_t stage, struct reading_byte b)
{
    bool newline = b.value == '\n' || b.value == '\r';
    if (newline || (r->indent && (b.value == ' ' || b.value == '\t'))) {
        r->indent = true;
        r->plain = 0;
    } else {
        r->indent = false;
        pass(r, stage, b);
    }
}

static void feed(struct reading *r, size_t stage, struct reading_byte b)
{
    switch (r->kind) {
    case READING_PERCENT:
    case READING_FORM:
    case READING_PERCENT_TWICE:
    case READING_FORM_TWICE:
        feed_percent(r, stage, b);
        break;
    case READING_BACKSLASH:
    case READING_BACKSLASH_TWICE:
        feed_backslash(r, stage, b);
        break;
    case READING_HTML:
        feed_html(r, stage, b);
        break;
    default:
        feed_unwrap(r, stage, b);
        break;
    }
}

bool reading_feed(struct reading *r, uint32_t plain_state, unsigned char c, uint64_t at)
{
    if (!r->active) {
        if (r->kind == READING_UNWRAPPED && !r->patterns->nodes[plain_state].wraps)
            return false;
        r->state = plain_state;
        r->fork = at;
        r->count = r->plain = 0;
        r->stages[0].count = r->stages[1].count = 0;
        r->indent = false;
    }
    feed(r, 0, (struct reading_byte){at, at + 1, c, true});
    r->active = r->stages[0].count || r->stages[1].count ||
                r->patterns->nodes[r->state].depth > r->plain;
    return r->active;
}

uint64_t reading_pending(const struct reading *r, uint64_t pos)
{
    uint32_t depth = r->patterns->nodes[r->state].depth;
    if (depth)
        return start_of(r, depth);
    for (size_t stage = READING_STAGES; stage-- > 0;)
        if (r->stages[stage].count)
            return r->stages[stage].bytes[0].start;
    return pos;
}

void reading_finish(struct reading *r)
{
    for (size_t stage = 0; r->active && stage < READING_STAGES; stage++)
        while (r->stages[stage].count)
            escape_spill(r, stage);
    r->active = false;
}

void reading_reset(struct reading *r)
{
    uint64_t size = 1;
    while (size < r->patterns->max_depth)
        size *= 2;
    r->starts = mem_resize(r->starts, size * sizeof *r->starts);
    r->ring_mask = size - 1;
    r->active = false;
}

void reading_fini(struct reading *r) { mem_free(r->starts); }
