/* host.yaml: YAML 1.2 core, for configuration files. Limits on size, depth and what
   aliases expand to; tags that construct are refused; duplicate keys are errors; messages
   have line and column. */
#include <errno.h>
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
    NODES_LIMIT = 100 * 1000, /* visited, aliases expanded */
};

/* The metatable of a typed scalar, shared with host.toml. */
static const char scalar_type[] = "dgrun.scalar";

struct reader {
    lua_State *L;
    bool typed; /* floats and large integers become typed scalars */
    yaml_document_t document;
    const char *source;
    unsigned nodes;
    struct err *error;
};

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

/* The core schema's numbers, YAML 1.2 section 10.3.2. */
static bool read_number(const char *text, double *number, bool *whole_number)
{
    static const char *const nan_words[] = {".nan", ".NaN", ".NAN", NULL};
    static const char *const inf_words[] = {".inf", ".Inf", ".INF", NULL};
    const char *digits = text + (*text == '-' || *text == '+');
    *whole_number = false;
    if (is_one_of(text, nan_words)) {
        *number = NAN;
        return true;
    }
    if (is_one_of(digits, inf_words)) {
        *number = *text == '-' ? -INFINITY : INFINITY;
        return true;
    }
    char *end = NULL;
    *whole_number = true;
    if (strncmp(text, "0x", 2) == 0 && strspn(text + 2, "0123456789abcdefABCDEF")) {
        *number = (double)strtoull(text + 2, &end, 16);
    } else if (strncmp(text, "0o", 2) == 0 && strspn(text + 2, "01234567")) {
        *number = (double)strtoull(text + 2, &end, 8);
    } else {
        size_t whole = strspn(digits, "0123456789");
        bool fraction = digits[whole] == '.' && strspn(digits + whole + 1, "0123456789");
        if ((!whole && !fraction) || strspn(digits, "0123456789.eE+-") != strlen(digits))
            return false;
        *number = strtod(text, &end);
        *whole_number = !strpbrk(text, ".eE");
    }
    return end && *end == '\0';
}

/* {kind = "float", number} or {kind = "integer", text}. */
static void push_scalar(struct reader *r, const char *text, double number, bool whole)
{
    lua_createtable(r->L, 0, 2);
    lua_pushstring(r->L, whole ? "integer" : "float");
    lua_setfield(r->L, -2, "kind");
    if (whole)
        lua_pushstring(r->L, text + (*text == '+'));
    else
        lua_pushnumber(r->L, number);
    lua_setfield(r->L, -2, whole ? "text" : "number");
    luaL_getmetatable(r->L, scalar_type);
    lua_setmetatable(r->L, -2);
}

static void push_plain(struct reader *r, const yaml_node_t *node)
{
    static const char *const null_words[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const true_words[] = {"true", "True", "TRUE", NULL};
    static const char *const false_words[] = {"false", "False", "FALSE", NULL};
    const char *text = (const char *)node->data.scalar.value;
    double number = 0;
    bool whole = false;
    if (strlen(text) != node->data.scalar.length)
        lua_pushlstring(r->L, text, node->data.scalar.length);
    else if (is_one_of(text, null_words))
        lua_pushlightuserdata(r->L, NULL);
    else if (is_one_of(text, true_words))
        lua_pushboolean(r->L, 1);
    else if (is_one_of(text, false_words))
        lua_pushboolean(r->L, 0);
    else if (!read_number(text, &number, &whole))
        lua_pushstring(r->L, text);
    else if (r->typed && (!whole || fabs(number) >= 9007199254740992.0))
        push_scalar(r, text, number, whole);
    else if (whole && fabs(number) >= 9007199254740992.0)
        fail(r, node->start_mark,
             "the number %s is too large to be kept exactly; quote it", text);
    else
        lua_pushnumber(r->L, number);
}

static bool is_core_tag(const yaml_node_t *node)
{
    static const char *const tags[] = {"!", YAML_STR_TAG, YAML_SEQ_TAG, YAML_MAP_TAG,
                                       NULL};
    return !node->tag || is_one_of((const char *)node->tag, tags);
}

/* Leaves one value, or sets r->error. */
static void push_node(struct reader *r, int index, unsigned depth);

static void push_sequence(struct reader *r, const yaml_node_t *node, unsigned depth)
{
    lua_newtable(r->L);
    int position = 1;
    for (const yaml_node_item_t *item = node->data.sequence.items.start;
         item < node->data.sequence.items.top && !r->error; item++) {
        push_node(r, *item, depth + 1);
        if (!r->error)
            lua_rawseti(r->L, -2, position++);
    }
}

static void push_mapping(struct reader *r, const yaml_node_t *node, unsigned depth)
{
    lua_newtable(r->L);
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top && !r->error; pair++) {
        const yaml_node_t *key = yaml_document_get_node(&r->document, pair->key);
        if (key->type != YAML_SCALAR_NODE) {
            fail(r, key->start_mark, "a key must be plain text%s", "");
            return;
        }
        const char *name = (const char *)key->data.scalar.value;
        lua_pushlstring(r->L, name, key->data.scalar.length);
        lua_pushvalue(r->L, -1);
        lua_rawget(r->L, -3);
        if (!lua_isnil(r->L, -1)) {
            fail(r, key->start_mark, "the key '%s' occurs twice", name);
            return;
        }
        lua_pop(r->L, 1);
        push_node(r, pair->value, depth + 1);
        if (!r->error)
            lua_rawset(r->L, -3);
    }
}

static void push_node(struct reader *r, int index, unsigned depth)
{
    const yaml_node_t *node = yaml_document_get_node(&r->document, index);
    luaL_checkstack(r->L, 8, "YAML");
    if (depth > DEPTH_LIMIT)
        fail(r, node->start_mark, "nested too deeply%s", "");
    else if (++r->nodes > NODES_LIMIT)
        fail(r, node->start_mark,
             "too much content, or aliases that expand to too much%s", "");
    else if (!is_core_tag(node))
        fail(r, node->start_mark, "the tag %s is not supported", (const char *)node->tag);
    else if (node->type == YAML_SEQUENCE_NODE)
        push_sequence(r, node, depth);
    else if (node->type == YAML_MAPPING_NODE)
        push_mapping(r, node, depth);
    else if (node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
        push_plain(r, node);
    else
        lua_pushlstring(r->L, (const char *)node->data.scalar.value,
                        node->data.scalar.length);
}

static void parser_error(struct reader *r, const yaml_parser_t *parser)
{
    yaml_mark_t mark = parser->problem_mark;
    if (parser->error == YAML_READER_ERROR)
        mark = parser->mark;
    fail(r, mark, "%s", parser->problem ? parser->problem : "not readable as YAML");
}

static void read_document(struct reader *r, yaml_parser_t *parser)
{
    if (!yaml_parser_load(parser, &r->document)) {
        parser_error(r, parser);
        return;
    }
    yaml_node_t *root = yaml_document_get_root_node(&r->document);
    if (!root)
        lua_pushlightuserdata(r->L, NULL);
    else
        push_node(r, 1, 0);
    yaml_document_delete(&r->document);
    if (r->error || !root)
        return;
    if (!yaml_parser_load(parser, &r->document)) {
        parser_error(r, parser);
        return;
    }
    root = yaml_document_get_root_node(&r->document);
    if (root)
        fail(r, root->start_mark, "a second document begins here%s", "");
    yaml_document_delete(&r->document);
}

/* decode(text [, {source=, typed=}]) → value | nil, err{line, column} */
static int l_decode(lua_State *L)
{
    static const struct opt options[] = {
        {"source", OPT_STRING, false}, {"typed", OPT_BOOLEAN, false}, {NULL, 0, false}};
    size_t len = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    struct reader r = {.L = L, .source = "YAML"};
    if (!lua_isnoneornil(L, 2)) {
        opt_check(L, 2, "yaml.decode", options);
        r.source = opt_string(L, 2, "source", r.source);
        r.typed = opt_boolean(L, 2, "typed", false);
    }
    if (len > SIZE_LIMIT)
        return err_return(L, err_new("yaml.too_large", "yaml.decode",
                                     "%s: larger than %d bytes", r.source, SIZE_LIMIT));
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return luaL_error(L, "no memory for a YAML parser");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    int top = lua_gettop(L);
    read_document(&r, &parser);
    yaml_parser_delete(&parser);
    if (r.error) {
        lua_settop(L, top);
        return err_return(L, r.error);
    }
    return 1;
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
