local json = require "dgrun.core.json"
local sql = require "host.sql"

local function parts(text, opts)
    local list = {}
    for i, item in ipairs(assert(sql.split(text, opts))) do
        list[i] = (item.comment and "#" or "") .. text:sub(item.from, item.to)
    end
    return list
end

describe("host.sql", function()
    it("parses by PostgreSQL's grammar", function()
        local tree = json.decode(assert(sql.parse "DROP TABLE a; TRUNCATE b"))
        assert.equal("OBJECT_TABLE", tree.stmts[1].stmt.DropStmt.removeType)
        assert.equal("b", tree.stmts[2].stmt.TruncateStmt.relations[1].RangeVar.relname)
        assert.is_true(tonumber(sql.grammar) >= 15)
        assert.matches("DROP TABLE a", assert(sql.parse_plpgsql
            "DO $$ BEGIN DROP TABLE a; END $$"))
    end)

    it("says where it cannot go on, by bytes", function()
        local found, e = sql.parse "SELECT 'éé' FROM FROM"
        assert.is_nil(found)
        assert.same({ "sql.syntax", 20 }, { e.code, e.at })
        assert.equal("sql.unterminated", select(2, sql.split "SELECT 'a").code)
        assert.equal("sql.syntax", select(2, sql.parse "SELECT 1\0; DROP TABLE a").code)
        assert.equal("sql.too_large", select(2, sql.parse((" "):rep(2 * 1024 * 1024 + 1))).code)
        assert.equal("sql.syntax", select(2, sql.parse("SELECT " .. ("("):rep(1000000))).code)
    end)

    it("refuses what libpg_query does not survive", function()
        local function code_of(parse, text)
            local tree, e = parse(text)
            return tree and "parsed" or e.code
        end
        for _, tail in ipairs { "+1", "||'a'", ' COLLATE "C"', " AT TIME ZONE 'x'", "::int" } do
            local long = "SELECT 'a'" .. tail:rep(100000)
            assert.equal("sql.too_large", code_of(sql.parse, long), tail)
            assert.equal("sql.too_large", code_of(sql.parse_plpgsql, long), tail)
            local row = "SELECT f((1, " .. long:sub(8) .. "))"
            assert.equal("sql.too_large", code_of(sql.parse, row))
            assert.equal("parsed", code_of(sql.parse, "SELECT 'a'" .. tail:rep(4000)), tail)
        end
        assert.equal("sql.too_large",
            code_of(sql.parse, "SELECT 1 FROM a" .. (" CROSS JOIN a"):rep(100000)))
        for _, word in ipairs { "UNION ALL", "except", "INTERSECT" } do
            local many = ("SELECT 1, 2 " .. word .. " "):rep(21000) .. "SELECT 1, 2"
            assert.equal("sql.too_large", code_of(sql.parse, many), word)
            assert.equal("sql.too_large", code_of(sql.parse, "SELECT a, (" .. many .. ")"), word)
        end
        local half = "(1" .. ("+1"):rep(6000)
        assert.equal("sql.too_large", code_of(sql.parse, "SELECT " .. half .. "+" .. half .. "))"))
        local tree, e = sql.parse("SELECT 1;\nSELECT 1" .. ("+1"):rep(100000))
        assert.is_nil(tree)
        assert.matches("more than 20000 words", e.msg)
        assert.is_true(e.at > 10)
    end)

    it("reads long lists", function()
        for _, text in ipairs {
            "INSERT INTO t VALUES (1)" .. (",(1, 'a', 2 + 3)"):rep(50000),
            "SELECT a IN (1" .. (",1"):rep(100000) .. ")", ("SELECT 1;"):rep(50000),
            ("SELECT 1, 2 UNION SELECT 3, 4;"):rep(21000),
            "SELECT 'a; (" .. ("+1"):rep(100000) .. "'", "SELECT 1 --" .. ("+1"):rep(100000),
        } do
            assert(sql.parse(text))
        end
    end)

    it("splits what does not parse", function()
        assert.same({ "#-- a;", "SELEKT ';'", "#/* b; */", "DROP (;) c" },
            parts "-- a;\nSELEKT ';';; /* b; */ DROP (;) c;")
        local trigger = "CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN SELECT CASE WHEN 1 THEN 2 "
            .. "END; DELETE FROM b; END"
        assert.same({ trigger, "SELECT 1" }, parts(trigger .. "; SELECT 1", { sqlite = true }))
    end)
end)
