// host.toml: TOML 1.0 by toml++, built without exceptions: a failure is a value.
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

struct problem {
    std::string text;
    toml::source_position where;
};

// Leaves one value, or fills `found` and leaves nothing of use.
bool push_node(lua_State *L, const toml::node &node, int depth, problem &found);

bool push_table(lua_State *L, const toml::table &table, int depth, problem &found)
{
    lua_createtable(L, 0, static_cast<int>(table.size()));
    for (auto &&[name, value] : table) {
        lua_pushlstring(L, name.data(), name.length());
        if (!push_node(L, value, depth + 1, found))
            return false;
        lua_rawset(L, -3);
    }
    return true;
}

bool push_array(lua_State *L, const toml::array &array, int depth, problem &found)
{
    lua_createtable(L, static_cast<int>(array.size()), 0);
    int position = 1;
    for (auto &&value : array) {
        if (!push_node(L, value, depth + 1, found))
            return false;
        lua_rawseti(L, -2, position++);
    }
    return true;
}

template <typename Date> void push_date(lua_State *L, const Date &date)
{
    std::ostringstream text;
    text << date;
    lua_pushstring(L, text.str().c_str());
}

bool push_node(lua_State *L, const toml::node &node, int depth, problem &found)
{
    if (depth > depth_limit || !lua_checkstack(L, 8)) {
        found = {"nested too deeply", node.source().begin};
        return false;
    }
    switch (node.type()) {
    case toml::node_type::table:
        return push_table(L, *node.as_table(), depth, found);
    case toml::node_type::array:
        return push_array(L, *node.as_array(), depth, found);
    case toml::node_type::string: {
        const std::string &text = node.as_string()->get();
        lua_pushlstring(L, text.data(), text.size());
        return true;
    }
    case toml::node_type::integer: {
        const std::int64_t number = node.as_integer()->get();
        if (number > exact_limit || number < -exact_limit) {
            found = {"the number " + std::to_string(number) +
                         " is too large to be kept exactly; quote it",
                     node.source().begin};
            return false;
        }
        lua_pushnumber(L, static_cast<lua_Number>(number));
        return true;
    }
    case toml::node_type::floating_point:
        lua_pushnumber(L, node.as_floating_point()->get());
        return true;
    case toml::node_type::boolean:
        lua_pushboolean(L, node.as_boolean()->get());
        return true;
    case toml::node_type::date:
        push_date(L, node.as_date()->get());
        return true;
    case toml::node_type::time:
        push_date(L, node.as_time()->get());
        return true;
    case toml::node_type::date_time:
        push_date(L, node.as_date_time()->get());
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

// decode(text, source) → table | nil, {code, op, msg, line, column}
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
    problem found;
    const int top = lua_gettop(L);
    if (push_table(L, result.table(), 0, found))
        return 1;
    lua_settop(L, top);
    return push_problem(L, source, found);
}

} // namespace

extern "C" {
void err_metatable(lua_State *L);

// decode(text [, {source=}]) → table | nil, err{line, column}
static int l_decode(lua_State *L)
{
    luaL_checkstring(L, 1);
    if (lua_istable(L, 2))
        lua_getfield(L, 2, "source");
    else
        lua_pushnil(L);
    if (!lua_isstring(L, -1))
        lua_pushliteral(L, "TOML");
    lua_pushcfunction(L, l_decode_raw);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -3);
    lua_call(L, 2, 2);
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
    return 1;
}
}
