// host.toml: TOML 1.0 by toml++, built without exceptions: a failure is a value.
//
// The library is a guest that is not trusted with every text. It recurses as deep as a
// key has parts, some characters outside of quotes run into its __builtin_unreachable()
// (é), and others into an assertion ([=]) where the branch that follows reports them. So
// keys and characters are looked at before it is called, and it is built without
// assertions.
//
// With `typed`, what a Lua number or string does not tell from others comes as a table
// with the metatable dgrun.scalar: {kind = "float", number}, {kind = "integer" (beyond
// 2^53) or "date-time", "local-date-time", "date", "time", text}.
#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#define TOML_MAX_NESTED_VALUES 64
#define TOML_ASSERT(condition) static_assert(true)
#include <toml++/toml.h>

extern "C" {
#include <lauxlib.h>
#include <lua.h>
}

#include <algorithm>
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

// The metatable of an empty array, which is an empty table otherwise: that of host.json.
constexpr char array_type[] = "dgrun.json.array";

// The metatable of a typed scalar, shared with host.yaml.
constexpr char scalar_type[] = "dgrun.scalar";

struct reading {
    bool typed; // floats, dates and large integers become typed scalars
    problem found;
};

// Reads over a text up to where toml++ must not read on.
class guard {
  public:
    explicit guard(std::string_view text) : text_{text} {}

    bool accepts(problem &found)
    {
        if (text_.substr(0, 3) == "\xEF\xBB\xBF")
            at_ = 3;
        int parts = 1;
        while (at_ < text_.size()) {
            const char c = text_[at_];
            if (c == '#')
                at_ = std::min(text_.find('\n', at_), text_.size());
            else if (c == '"' || c == '\'')
                skip_string(c);
            else if (static_cast<unsigned char>(c) >= 0x80)
                return refuse(found, "characters outside of quotes must be ASCII");
            else if (c == '.' && ++parts > depth_limit)
                return refuse(found, "the key has too many parts");
            else if (at_++, std::string_view{"\n=,{["}.find(c) != std::string_view::npos)
                parts = 1;
        }
        return true;
    }

  private:
    void skip_string(char quote)
    {
        const std::string fence(3, quote);
        const bool is_long = text_.substr(at_, 3) == fence;
        for (at_ += is_long ? 3 : 1; at_ < text_.size(); at_++) {
            if (text_[at_] == '\\' && quote == '"')
                at_++;
            else if (is_long ? text_.substr(at_, 3) == fence
                             : text_[at_] == quote || text_[at_] == '\n')
                break;
        }
        if (!is_long) {
            at_++;
            return;
        }
        at_ += 3;
        for (int i = 0; i < 2 && at_ < text_.size() && text_[at_] == quote; i++)
            at_++; // the text may end with quotes
    }

    bool refuse(problem &found, const char *what) const
    {
        toml::source_position where{1, 1};
        for (const char c : text_.substr(0, at_)) {
            where.line += c == '\n';
            where.column = c == '\n' ? 1 : where.column + 1;
        }
        found = {what, where};
        return false;
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

// A position, for Lua: the line of a scalar; {line, {key → position}} of a collection.
void push_line(lua_State *L, const toml::source_position &where)
{
    lua_pushinteger(L, static_cast<lua_Integer>(where.line));
}

// Leaves one value and its position, or fills `r.found` and leaves nothing of use.
bool push_node(lua_State *L, const toml::node &node, const toml::source_position &where,
               int depth, reading &r);

// Value and position of a collection, empty.
void push_collection(lua_State *L, const toml::source_position &where)
{
    lua_newtable(L);
    lua_createtable(L, 2, 0);
    push_line(L, where);
    lua_rawseti(L, -2, 1);
    lua_newtable(L);
    lua_rawseti(L, -2, 2);
}

// One member of the collection at `value`; its key is on top.
bool push_member(lua_State *L, int value, const toml::node &node,
                 const toml::source_position &where, int depth, reading &r)
{
    const int key = lua_gettop(L);
    if (!push_node(L, node, where, depth + 1, r))
        return false;
    lua_rawgeti(L, value + 1, 2);
    lua_pushvalue(L, key);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 2);
    lua_rawset(L, value);
    return true;
}

bool push_table(lua_State *L, const toml::table &table,
                const toml::source_position &where, int depth, reading &r)
{
    push_collection(L, where);
    const int value = lua_gettop(L) - 1;
    for (auto &&[name, item] : table) {
        lua_pushlstring(L, name.data(), name.length());
        if (!push_member(L, value, item, name.source().begin, depth, r))
            return false;
    }
    return true;
}

bool push_array(lua_State *L, const toml::array &array,
                const toml::source_position &where, int depth, reading &r)
{
    push_collection(L, where);
    const int value = lua_gettop(L) - 1;
    if (array.empty()) {
        luaL_newmetatable(L, array_type);
        lua_setmetatable(L, value);
    }
    int place = 1;
    for (auto &&item : array) {
        lua_pushinteger(L, place++);
        if (!push_member(L, value, item, item.source().begin, depth, r))
            return false;
    }
    return true;
}

// {kind, [field] = the value on top of the stack}, in the place of that value.
void push_typed(lua_State *L, const char *kind, const char *field)
{
    lua_createtable(L, 0, 2);
    lua_insert(L, -2);
    lua_setfield(L, -2, field);
    lua_pushstring(L, kind);
    lua_setfield(L, -2, "kind");
    luaL_getmetatable(L, scalar_type);
    lua_setmetatable(L, -2);
}

template <typename Date>
bool push_date(lua_State *L, const char *kind, const Date &date, const reading &r)
{
    std::ostringstream text;
    text << date;
    lua_pushstring(L, text.str().c_str());
    if (r.typed)
        push_typed(L, kind, "text");
    return true;
}

bool push_integer(lua_State *L, const toml::node &node, reading &r)
{
    const std::int64_t number = node.as_integer()->get();
    const bool exact = number <= exact_limit && number >= -exact_limit;
    if (exact) {
        lua_pushnumber(L, static_cast<lua_Number>(number));
    } else if (r.typed) {
        lua_pushstring(L, std::to_string(number).c_str());
        push_typed(L, "integer", "text");
    } else {
        r.found = {"the number " + std::to_string(number) +
                       " is too large to be kept exactly; quote it",
                   node.source().begin};
    }
    return exact || r.typed;
}

bool push_float(lua_State *L, double number, const reading &r)
{
    lua_pushnumber(L, number);
    if (r.typed)
        push_typed(L, "float", "number");
    return true;
}

bool push_scalar(lua_State *L, const toml::node &node, reading &r)
{
    switch (node.type()) {
    case toml::node_type::string: {
        const std::string &text = node.as_string()->get();
        lua_pushlstring(L, text.data(), text.size());
        return true;
    }
    case toml::node_type::integer:
        return push_integer(L, node, r);
    case toml::node_type::floating_point:
        return push_float(L, node.as_floating_point()->get(), r);
    case toml::node_type::boolean:
        lua_pushboolean(L, node.as_boolean()->get());
        return true;
    case toml::node_type::date:
        return push_date(L, "date", node.as_date()->get(), r);
    case toml::node_type::time:
        return push_date(L, "time", node.as_time()->get(), r);
    case toml::node_type::date_time:
        return push_date(
            L, node.as_date_time()->get().offset ? "date-time" : "local-date-time",
            node.as_date_time()->get(), r);
    default:
        lua_pushnil(L);
        return true;
    }
}

bool push_node(lua_State *L, const toml::node &node, const toml::source_position &where,
               int depth, reading &r)
{
    if (depth > depth_limit || !lua_checkstack(L, 12)) {
        r.found = {"nested too deeply", node.source().begin};
        return false;
    }
    if (const auto *table = node.as_table())
        return push_table(L, *table, where, depth, r);
    if (const auto *array = node.as_array())
        return push_array(L, *array, where, depth, r);
    if (!push_scalar(L, node, r))
        return false;
    push_line(L, where);
    return true;
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

// decode(text, source, typed) → table, position | nil, {code, op, msg, line, column}
int l_decode_raw(lua_State *L)
{
    std::size_t len = 0;
    const char *text = lua_tolstring(L, 1, &len);
    const char *source = lua_tostring(L, 2);
    if (len > size_limit)
        return push_problem(L, source, {"larger than 1 MiB", {1, 1}});
    reading r{lua_toboolean(L, 3) != 0, {}};
    if (!guard{{text, len}}.accepts(r.found))
        return push_problem(L, source, r.found);
    const toml::parse_result result = toml::parse(std::string_view{text, len});
    if (!result) {
        const auto &error = result.error();
        return push_problem(L, source,
                            {std::string{error.description()}, error.source().begin});
    }
    const int top = lua_gettop(L);
    if (push_table(L, result.table(), {1, 1}, 0, r))
        return 2;
    lua_settop(L, top);
    return push_problem(L, source, r.found);
}

} // namespace

extern "C" {
void err_metatable(lua_State *L);

// decode(text [, {source=, typed=, positions=}]) → table [, position] | nil, err{line,
// column}
static int l_decode(lua_State *L)
{
    luaL_checkstring(L, 1);
    bool typed = false;
    bool wants_position = false;
    lua_settop(L, 2);
    if (lua_istable(L, 2)) {
        lua_getfield(L, 2, "typed");
        typed = lua_toboolean(L, -1) != 0;
        lua_getfield(L, 2, "positions");
        wants_position = lua_toboolean(L, -1) != 0;
        lua_getfield(L, 2, "source");
    }
    if (!lua_isstring(L, -1))
        lua_pushliteral(L, "TOML");
    lua_pushcfunction(L, l_decode_raw);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -3);
    lua_pushboolean(L, typed);
    lua_call(L, 3, 2);
    if (lua_isnil(L, -2)) {
        err_metatable(L);
        lua_setmetatable(L, -2);
        return 2;
    }
    if (wants_position)
        return 2;
    lua_pop(L, 1);
    return 1;
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
