// host.toml: TOML 1.0 by toml++, built without exceptions: a failure is a value.
// With `typed`, what a Lua number or string does not tell from others comes as a table
// with the metatable dgrun.scalar: {kind = "float", number}, {kind = "integer" (beyond
// 2^53) or "date-time", "local-date-time", "date", "time", text}.
#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

extern "C" {
#include <lauxlib.h>
#include <lua.h>
}

#include <cmath>
#include <sstream>
#include <string>
#include <string_view>

#include "base/modules.h"

namespace {

constexpr int depth_limit = 64;
constexpr std::size_t size_limit = 1024 * 1024;
constexpr std::int64_t exact_limit = std::int64_t{1} << 53;

// The metatable of a typed scalar, shared with host.yaml.
constexpr char scalar_type[] = "dgrun.scalar";

struct problem {
    std::string text;
    toml::source_position where;
};

struct reading {
    bool typed; // floats, dates and large integers become typed scalars
    problem found;
};

// Leaves one value, or fills `r.found` and leaves nothing of use.
bool push_node(lua_State *L, const toml::node &node, int depth, reading &r);

// {kind, [field] = the value on top of the stack}, in the place of that value.
void push_scalar(lua_State *L, const char *kind, const char *field)
{
    lua_createtable(L, 0, 2);
    lua_insert(L, -2);
    lua_setfield(L, -2, field);
    lua_pushstring(L, kind);
    lua_setfield(L, -2, "kind");
    luaL_getmetatable(L, scalar_type);
    lua_setmetatable(L, -2);
}

bool push_table(lua_State *L, const toml::table &table, int depth, reading &r)
{
    lua_createtable(L, 0, static_cast<int>(table.size()));
    for (auto &&[name, value] : table) {
        lua_pushlstring(L, name.data(), name.length());
        if (!push_node(L, value, depth + 1, r))
            return false;
        lua_rawset(L, -3);
    }
    return true;
}

bool push_array(lua_State *L, const toml::array &array, int depth, reading &r)
{
    lua_createtable(L, static_cast<int>(array.size()), 0);
    int position = 1;
    for (auto &&value : array) {
        if (!push_node(L, value, depth + 1, r))
            return false;
        lua_rawseti(L, -2, position++);
    }
    return true;
}

template <typename Date>
void push_date(lua_State *L, const char *kind, const Date &date, const reading &r)
{
    std::ostringstream text;
    text << date;
    lua_pushstring(L, text.str().c_str());
    if (r.typed)
        push_scalar(L, kind, "text");
}

bool push_integer(lua_State *L, const toml::node &node, reading &r)
{
    const std::int64_t number = node.as_integer()->get();
    const bool exact = number <= exact_limit && number >= -exact_limit;
    if (exact) {
        lua_pushnumber(L, static_cast<lua_Number>(number));
    } else if (r.typed) {
        lua_pushstring(L, std::to_string(number).c_str());
        push_scalar(L, "integer", "text");
    } else {
        r.found = {"the number " + std::to_string(number) +
                       " is too large to be kept exactly; quote it",
                   node.source().begin};
    }
    return exact || r.typed;
}

void push_float(lua_State *L, double number, const reading &r)
{
    lua_pushnumber(L, number);
    if (r.typed)
        push_scalar(L, "float", "number");
}

bool push_node(lua_State *L, const toml::node &node, int depth, reading &r)
{
    if (depth > depth_limit || !lua_checkstack(L, 8)) {
        r.found = {"nested too deeply", node.source().begin};
        return false;
    }
    switch (node.type()) {
    case toml::node_type::table:
        return push_table(L, *node.as_table(), depth, r);
    case toml::node_type::array:
        return push_array(L, *node.as_array(), depth, r);
    case toml::node_type::string: {
        const std::string &text = node.as_string()->get();
        lua_pushlstring(L, text.data(), text.size());
        return true;
    }
    case toml::node_type::integer:
        return push_integer(L, node, r);
    case toml::node_type::floating_point:
        push_float(L, node.as_floating_point()->get(), r);
        return true;
    case toml::node_type::boolean:
        lua_pushboolean(L, node.as_boolean()->get());
        return true;
    case toml::node_type::date:
        push_date(L, "date", node.as_date()->get(), r);
        return true;
    case toml::node_type::time:
        push_date(L, "time", node.as_time()->get(), r);
        return true;
    case toml::node_type::date_time:
        push_date(L, node.as_date_time()->get().offset ? "date-time" : "local-date-time",
                  node.as_date_time()->get(), r);
        return true;
    default:
        lua_pushnil(L);
        return true;
    }
}

// The message and position go through plain Lua values: err.h is C and raises by longjmp.
int push_problem(lua_State *L, const char *source, const problem &found)
{
    lua_pushnil(L);
    lua_createtable(L, 0, 5);
    lua_pushliteral(L, "toml.syntax");
    lua_setfield(L, -2, "code");
    lua_pushliteral(L, "toml.decode");
    lua_setfield(L, -2, "op");
    lua_pushfstring(L, "%s:%d:%d: %s", source, static_cast<int>(found.where.line),
                    static_cast<int>(found.where.column), found.text.c_str());
    lua_setfield(L, -2, "msg");
    lua_pushinteger(L, static_cast<lua_Integer>(found.where.line));
    lua_setfield(L, -2, "line");
    lua_pushinteger(L, static_cast<lua_Integer>(found.where.column));
    lua_setfield(L, -2, "column");
    return 2;
}

// decode(text, source, typed) → table | nil, {code, op, msg, line, column}
int l_decode_raw(lua_State *L)
{
    std::size_t len = 0;
    const char *text = lua_tolstring(L, 1, &len);
    const char *source = lua_tostring(L, 2);
    if (len > size_limit)
        return push_problem(L, source, {"larger than 1 MiB", {1, 1}});
    const toml::parse_result result = toml::parse(std::string_view{text, len});
    if (!result) {
        const auto &error = result.error();
        return push_problem(L, source,
                            {std::string{error.description()}, error.source().begin});
    }
    reading r{lua_toboolean(L, 3) != 0, {}};
    const int top = lua_gettop(L);
    if (push_table(L, result.table(), 0, r))
        return 1;
    lua_settop(L, top);
    return push_problem(L, source, r.found);
}

} // namespace

extern "C" {
void err_metatable(lua_State *L);

// decode(text [, {source=, typed=}]) → table | nil, err{line, column}
static int l_decode(lua_State *L)
{
    luaL_checkstring(L, 1);
    bool typed = false;
    if (lua_istable(L, 2)) {
        lua_getfield(L, 2, "typed");
        typed = lua_toboolean(L, -1) != 0;
        lua_pop(L, 1);
    }
    if (lua_istable(L, 2))
        lua_getfield(L, 2, "source");
    else
        lua_pushnil(L);
    if (!lua_isstring(L, -1))
        lua_pushliteral(L, "TOML");
    lua_pushcfunction(L, l_decode_raw);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -3);
    lua_pushboolean(L, typed);
    lua_call(L, 3, 2);
    if (!lua_isnil(L, -1)) {
        err_metatable(L);
        lua_setmetatable(L, -2);
    }
    return 2;
}

int luaopen_host_toml(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        {"decode", l_decode},
        {NULL, NULL},
    };
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    luaL_newmetatable(L, scalar_type);
    lua_setfield(L, -2, "scalar_metatable");
    return 1;
}
}
