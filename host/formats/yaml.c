/* host.yaml: YAML 1.2 core, for configuration files. Limits on size, depth and what
   aliases expand to; tags that construct are refused; duplicate keys are errors; messages
   have line and column.

   Values are made from the parser's events and not from its document, which has lost the
   difference between `1` and `!!str 1`, looks through all anchors for each anchor, and
   exists only after any depth was read: half a million of "[" take minutes. */
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/modules.h"
#include "base/opt.h"

enum {
    SIZE_LIMIT = 1024 * 1024,
    DEPTH_LIMIT = 64,
    NODES_LIMIT = 100 * 1000,  /* visited, aliases expanded */
    TAG_DIRECTIVES_LIMIT = 16, /* the parser compares each with each */
    STACK_PER_LEVEL = 12,
};

static const unsigned long long EXACT_LIMIT = 1ULL << 53;

/* The metatable of an empty array, which is an empty table otherwise: that of host.json.
 */
static const char array_type[] = "dgrun.json.array";

/* The metatable of a typed scalar, shared with host.toml. */
static const char scalar_type[] = "dgrun.scalar";

struct reader {
    lua_State *L;
    bool typed; /* floats and large integers become typed scalars */
    yaml_parser_t *parser;
    const char *source;
    unsigned nodes;
    int anchors;    /* index of a table: name → value */
    bool positions; /* push_node leaves two values: the value, and where it is */
    struct err *error;
};

/* A position, for Lua: the line of a scalar; {line, {key → position}} of a collection. */

static void fail(struct reader *r, yaml_mark_t mark, const char *format,
                 const char *subject)
{
    if (r->error)
        return;
    char *reason =
        mem_format(format, subject); // NOLINT(clang-diagnostic-format-nonliteral)
    r->error = err_new("yaml.syntax", "yaml.decode", "%s:%zu:%zu: %s", r->source,
                       mark.line + 1, mark.column + 1, reason);
    mem_free(reason);
    err_field_int(r->error, "line", (long long)mark.line + 1);
    err_field_int(r->error, "column", (long long)mark.column + 1);
}

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(text, *words) == 0)
            return true;
    return false;
}

/* The core schema's numbers, YAML 1.2 section 10.3.2: a whole one. False: it is none. */
static bool read_integer(const char *text, unsigned long long *size)
{
    const char *digits = text + (*text == '-' || *text == '+');
    static const char hex[] = "0123456789abcdefABCDEF";
    int base = 10;
    if (strncmp(text, "0x", 2) == 0 && text[2] && !text[2 + strspn(text + 2, hex)])
        base = 16;
    else if (strncmp(text, "0o", 2) == 0 && text[2] &&
             !text[2 + strspn(text + 2, "01234567")])
        base = 8;
    else if (!*digits || digits[strspn(digits, "0123456789")])
        return false;
    *size = strtoull(base == 10 ? digits : text + 2, NULL, base);
    return true;
}

static bool read_fraction(const char *text, double *number)
{
    static const char *const nan_words[] = {".nan", ".NaN", ".NAN", NULL};
    static const char *const inf_words[] = {".inf", ".Inf", ".INF", NULL};
    const char *digits = text + (*text == '-' || *text == '+');
    if (is_one_of(text, nan_words)) {
        *number = NAN;
        return true;
    }
    if (is_one_of(digits, inf_words)) {
        *number = *text == '-' ? -INFINITY : INFINITY;
        return true;
    }
    size_t whole = strspn(digits, "0123456789");
    bool fraction = digits[whole] == '.' && strspn(digits + whole + 1, "0123456789");
    if ((!whole && !fraction) || strspn(digits, "0123456789.eE+-") != strlen(digits))
        return false;
    char *end = NULL;
    *number = strtod(text, &end);
    return *end == '\0';
}

/* {kind = "float", number} or {kind = "integer", text}; the last is on top. */
static void push_scalar_of(struct reader *r, const char *kind, const char *field)
{
    lua_createtable(r->L, 0, 2);
    lua_insert(r->L, -2);
    lua_setfield(r->L, -2, field);
    lua_pushstring(r->L, kind);
    lua_setfield(r->L, -2, "kind");
    luaL_getmetatable(r->L, scalar_type);
    lua_setmetatable(r->L, -2);
}

static void push_integer(struct reader *r, const yaml_event_t *event,
                         unsigned long long size)
{
    const char *text = (const char *)event->data.scalar.value;
    if (size <= EXACT_LIMIT) {
        lua_pushnumber(r->L, *text == '-' ? -(double)size : (double)size);
    } else if (r->typed) {
        lua_pushstring(r->L, text + (*text == '+'));
        push_scalar_of(r, "integer", "text");
    } else {
        fail(r, event->start_mark,
             "the number %s is too large to be kept exactly; quote it", text);
    }
}

static void push_float(struct reader *r, double number)
{
    lua_pushnumber(r->L, number);
    if (r->typed)
        push_scalar_of(r, "float", "number");
}

static void push_plain(struct reader *r, const yaml_event_t *event)
{
    static const char *const null_words[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const true_words[] = {"true", "True", "TRUE", NULL};
    static const char *const false_words[] = {"false", "False", "FALSE", NULL};
    const char *text = (const char *)event->data.scalar.value;
    unsigned long long size = 0;
    double number = 0;
    if (strlen(text) != event->data.scalar.length)
        lua_pushlstring(r->L, text, event->data.scalar.length);
    else if (is_one_of(text, null_words))
        lua_pushlightuserdata(r->L, NULL);
    else if (is_one_of(text, true_words))
        lua_pushboolean(r->L, 1);
    else if (is_one_of(text, false_words))
        lua_pushboolean(r->L, 0);
    else if (read_integer(text, &size))
        push_integer(r, event, size);
    else if (read_fraction(text, &number))
        push_float(r, number);
    else
        lua_pushstring(r->L, text);
}

/* Leaves one value (with a position, two), or sets r->error. */
static void push_node(struct reader *r, const yaml_event_t *event, unsigned depth);

static bool next_event(struct reader *r, yaml_event_t *event)
{
    if (yaml_parser_parse(r->parser, event))
        return true;
    yaml_mark_t mark = r->parser->problem_mark;
    if (r->parser->error == YAML_READER_ERROR)
        mark = r->parser->mark;
    fail(r, mark, "%s", r->parser->problem ? r->parser->problem : "not readable as YAML");
    return false;
}

static void push_line(struct reader *r, yaml_mark_t mark)
{
    if (r->positions)
        lua_pushinteger(r->L, (lua_Integer)mark.line + 1);
}

/* Value and position of a collection, empty. */
static void push_collection(struct reader *r, yaml_mark_t mark)
{
    lua_newtable(r->L);
    if (!r->positions)
        return;
    lua_createtable(r->L, 2, 0);
    push_line(r, mark);
    lua_rawseti(r->L, -2, 1);
    lua_newtable(r->L);
    lua_rawseti(r->L, -2, 2);
}

/* Puts the position on top, if there is one, below `key` into the collection's that is
   now at `collection`, with the line of the key. */
static void keep_position(struct reader *r, int collection, int key, yaml_mark_t mark)
{
    if (!r->positions)
        return;
    lua_State *L = r->L;
    if (lua_istable(L, -1)) {
        push_line(r, mark);
        lua_rawseti(L, -2, 1);
    } else {
        lua_pop(L, 1);
        push_line(r, mark);
    }
    lua_rawgeti(L, collection, 2);
    lua_pushvalue(L, key);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 2);
}

/* One member of the collection whose value is at `value`; its key is on top. */
static void read_member(struct reader *r, const yaml_event_t *event, int value,
                        yaml_mark_t mark, unsigned depth)
{
    int key = lua_gettop(r->L);
    push_node(r, event, depth + 1);
    if (r->error)
        return;
    keep_position(r, value + 1, key, mark);
    lua_rawset(r->L, value);
}

static void read_sequence(struct reader *r, int value, unsigned depth)
{
    yaml_event_t event;
    for (int place = 1; !r->error && next_event(r, &event); place++) {
        bool is_end = event.type == YAML_SEQUENCE_END_EVENT;
        if (is_end && place == 1) {
            luaL_newmetatable(r->L, array_type);
            lua_setmetatable(r->L, value);
        }
        if (!is_end) {
            lua_pushinteger(r->L, place);
            read_member(r, &event, value, event.start_mark, depth);
        }
        yaml_event_delete(&event);
        if (is_end)
            return;
    }
}

static bool push_key(struct reader *r, const yaml_event_t *event, int value)
{
    if (event->type != YAML_SCALAR_EVENT) {
        fail(r, event->start_mark, "a key must be plain text%s", "");
        return false;
    }
    const char *name = (const char *)event->data.scalar.value;
    lua_pushlstring(r->L, name, event->data.scalar.length);
    lua_pushvalue(r->L, -1);
    lua_rawget(r->L, value);
    if (!lua_isnil(r->L, -1))
        fail(r, event->start_mark, "the key '%s' occurs twice", name);
    lua_pop(r->L, 1);
    return !r->error;
}

static void read_mapping(struct reader *r, int value, unsigned depth)
{
    yaml_event_t key, event;
    while (!r->error && next_event(r, &key)) {
        bool is_end = key.type == YAML_MAPPING_END_EVENT;
        if (!is_end && push_key(r, &key, value) && next_event(r, &event)) {
            read_member(r, &event, value, key.start_mark, depth);
            yaml_event_delete(&event);
        }
        yaml_event_delete(&key);
        if (is_end)
            return;
    }
}

static bool count_node(struct reader *r, yaml_mark_t mark, unsigned depth)
{
    if (depth > DEPTH_LIMIT)
        fail(r, mark, "nested too deeply%s", "");
    else if (++r->nodes > NODES_LIMIT)
        fail(r, mark, "too much content, or aliases that expand to too much%s", "");
    return !r->error;
}

/* Replaces the value on top by a copy of it. */
static void copy_value(struct reader *r, yaml_mark_t mark, unsigned depth)
{
    lua_State *L = r->L;
    if (!count_node(r, mark, depth) || !lua_istable(L, -1))
        return;
    int original = lua_gettop(L);
    lua_newtable(L);
    if (lua_getmetatable(L, original))
        lua_setmetatable(L, -2);
    lua_pushnil(L);
    while (lua_next(L, original)) {
        copy_value(r, mark, depth + 1);
        if (r->error)
            return;
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, original + 1);
    }
    lua_replace(L, original);
}

static void push_alias(struct reader *r, const yaml_event_t *event, unsigned depth)
{
    const char *name = (const char *)event->data.alias.anchor;
    lua_getfield(r->L, r->anchors, name);
    if (lua_isnil(r->L, -1))
        fail(r, event->start_mark, "no value before this one has the anchor &%s", name);
    else
        copy_value(r, event->start_mark, depth);
}

static void push_scalar(struct reader *r, const yaml_event_t *event)
{
    if (event->data.scalar.plain_implicit)
        push_plain(r, event);
    else
        lua_pushlstring(r->L, (const char *)event->data.scalar.value,
                        event->data.scalar.length);
}

/* What a node says of itself, wherever the event of its kind has it. */
struct properties {
    const yaml_char_t *anchor, *tag;
    const char *core_tag; /* the one that says nothing new */
};

static struct properties properties_of(const yaml_event_t *event)
{
    if (event->type == YAML_SEQUENCE_START_EVENT)
        return (struct properties){event->data.sequence_start.anchor,
                                   event->data.sequence_start.tag, YAML_SEQ_TAG};
    if (event->type == YAML_MAPPING_START_EVENT)
        return (struct properties){event->data.mapping_start.anchor,
                                   event->data.mapping_start.tag, YAML_MAP_TAG};
    if (event->type == YAML_SCALAR_EVENT)
        return (struct properties){event->data.scalar.anchor, event->data.scalar.tag,
                                   YAML_STR_TAG};
    return (struct properties){NULL, NULL, NULL};
}

static void push_node(struct reader *r, const yaml_event_t *event, unsigned depth)
{
    struct properties p = properties_of(event);
    const char *tag = (const char *)p.tag;
    if (tag && strcmp(tag, "!") != 0 && strcmp(tag, p.core_tag) != 0)
        fail(r, event->start_mark, "the tag %s is not supported", tag);
    if (event->type != YAML_ALIAS_EVENT)
        count_node(r, event->start_mark, depth);
    if (r->error)
        return;
    int value = lua_gettop(r->L) + 1;
    switch (event->type) {
    case YAML_SEQUENCE_START_EVENT:
        push_collection(r, event->start_mark);
        read_sequence(r, value, depth);
        break;
    case YAML_MAPPING_START_EVENT:
        push_collection(r, event->start_mark);
        read_mapping(r, value, depth);
        break;
    case YAML_ALIAS_EVENT:
        push_alias(r, event, depth);
        push_line(r, event->start_mark);
        break;
    default:
        push_scalar(r, event);
        push_line(r, event->start_mark);
        break;
    }
    if (p.anchor && !r->error) {
        lua_pushvalue(r->L, value);
        lua_setfield(r->L, r->anchors, (const char *)p.anchor);
    }
}

/* Reads one event that begins or ends a document or the stream. */
static yaml_event_type_t next_mark(struct reader *r)
{
    yaml_event_t event;
    if (!next_event(r, &event))
        return YAML_NO_EVENT;
    yaml_event_type_t type = event.type;
    yaml_event_delete(&event);
    return type;
}

static void read_stream(struct reader *r)
{
    yaml_event_t event;
    next_mark(r); /* the stream begins */
    if (r->error)
        return;
    if (next_mark(r) == YAML_STREAM_END_EVENT) {
        lua_pushlightuserdata(r->L, NULL);
        push_line(r, (yaml_mark_t){0, 0, 0});
        return;
    }
    if (r->error || !next_event(r, &event))
        return;
    push_node(r, &event, 0);
    yaml_event_delete(&event);
    if (r->error)
        return;
    next_mark(r); /* the document ends */
    if (r->error || !next_event(r, &event))
        return;
    if (event.type != YAML_STREAM_END_EVENT)
        fail(r, event.start_mark, "a second document begins here%s", "");
    yaml_event_delete(&event);
}

static bool has_many_tag_directives(const char *text, size_t len)
{
    const char *end = text + len;
    unsigned count = 0;
    while ((text = memmem(text, (size_t)(end - text), "%TAG", 4))) {
        text += 4;
        if (++count > TAG_DIRECTIVES_LIMIT)
            return true;
    }
    return false;
}

static struct err *check_text(const char *source, const char *text, size_t len)
{
    if (len > SIZE_LIMIT)
        return err_new("yaml.too_large", "yaml.decode", "%s: larger than %d bytes",
                       source, SIZE_LIMIT);
    if (has_many_tag_directives(text, len))
        return err_new("yaml.syntax", "yaml.decode", "%s: more than %d times %%TAG",
                       source, TAG_DIRECTIVES_LIMIT);
    return NULL;
}

/* decode(text [, {source=, typed=, positions=}]) → value [, position] | nil, err{line,
 * column} */
static int l_decode(lua_State *L)
{
    static const struct opt options[] = {{"source", OPT_STRING, false},
                                         {"typed", OPT_BOOLEAN, false},
                                         {"positions", OPT_BOOLEAN, false},
                                         {NULL, 0, false}};
    size_t len = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    struct reader r = {.L = L, .source = "YAML"};
    if (!lua_isnoneornil(L, 2)) {
        opt_check(L, 2, "yaml.decode", options);
        r.source = opt_string(L, 2, "source", r.source);
        r.typed = opt_boolean(L, 2, "typed", false);
        r.positions = opt_boolean(L, 2, "positions", false);
    }
    struct err *e = check_text(r.source, text, len);
    if (e)
        return err_return(L, e);
    luaL_checkstack(L, (DEPTH_LIMIT + 2) * STACK_PER_LEVEL, "YAML");
    lua_newtable(L);
    r.anchors = lua_gettop(L);
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return luaL_error(L, "no memory for a YAML parser");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    r.parser = &parser;
    read_stream(&r);
    yaml_parser_delete(&parser);
    if (r.error) {
        lua_settop(L, r.anchors);
        return err_return(L, r.error);
    }
    return r.positions ? 2 : 1;
}

int luaopen_host_yaml(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        {"decode", l_decode},
        {NULL, NULL},
    };
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    luaL_newmetatable(L, scalar_type);
    lua_setfield(L, -2, "scalar_metatable");
    return 1;
}
