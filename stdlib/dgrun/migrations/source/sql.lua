-- A part of a Python program, see dgrun.migrations.source: the SQL of the operations that a
-- revision calls, as Alembic would print it. It does not need Alembic, so the result is the same
-- where Alembic is not installed.
return [==[
RESERVED = set("""all analyse analyze and any array as asc asymmetric authorization binary both case
cast check collate collation column concurrently constraint create cross current_catalog
current_date current_role current_schema current_time current_timestamp current_user default
deferrable desc distinct do else end except false fetch for foreign freeze from full grant group
having ilike in initially inner intersect into is isnull join lateral leading left like limit
localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing
primary references returning right select session_user similar some symmetric table tablesample
then to trailing true union unique user using variadic verbose when where window with""".split())

TYPES = {
    "String": "VARCHAR", "Unicode": "VARCHAR", "AutoString": "VARCHAR", "VARCHAR": "VARCHAR",
    "NVARCHAR": "VARCHAR", "CHAR": "CHAR", "NCHAR": "CHAR", "Text": "TEXT", "UnicodeText": "TEXT",
    "TEXT": "TEXT", "Integer": "INTEGER", "INTEGER": "INTEGER", "INT": "INTEGER",
    "BigInteger": "BIGINT", "BIGINT": "BIGINT", "SmallInteger": "SMALLINT", "SMALLINT": "SMALLINT",
    "Boolean": "BOOLEAN", "BOOLEAN": "BOOLEAN", "Float": "FLOAT", "FLOAT": "FLOAT", "REAL": "REAL",
    "Double": "DOUBLE PRECISION", "DOUBLE": "DOUBLE PRECISION",
    "DOUBLE_PRECISION": "DOUBLE PRECISION", "Numeric": "NUMERIC", "NUMERIC": "NUMERIC",
    "DECIMAL": "NUMERIC", "DateTime": "TIMESTAMP", "DATETIME": "TIMESTAMP",
    "TIMESTAMP": "TIMESTAMP", "Date": "DATE", "DATE": "DATE", "Time": "TIME", "TIME": "TIME",
    "Interval": "INTERVAL", "INTERVAL": "INTERVAL", "LargeBinary": "BYTEA", "BLOB": "BYTEA",
    "BYTEA": "BYTEA", "PickleType": "BYTEA", "BINARY": "BYTEA", "VARBINARY": "BYTEA",
    "JSON": "JSON", "JSONB": "JSONB", "UUID": "UUID", "Uuid": "UUID", "ARRAY": "ARRAY",
    "Enum": "ENUM", "ENUM": "ENUM", "INET": "INET", "CIDR": "CIDR", "MACADDR": "MACADDR",
    "BIT": "BIT", "HSTORE": "HSTORE", "TSVECTOR": "TSVECTOR", "MONEY": "MONEY", "OID": "OID",
    "CITEXT": "CITEXT", "TSRANGE": "TSRANGE", "TSTZRANGE": "TSTZRANGE", "INT4RANGE": "INT4RANGE",
    "INT8RANGE": "INT8RANGE", "NUMRANGE": "NUMRANGE", "DATERANGE": "DATERANGE",
}
INTEGERS = {"INTEGER": "SERIAL", "BIGINT": "BIGSERIAL", "SMALLINT": "SMALLSERIAL"}


def quoted(name):
    if re.fullmatch("[a-z_][a-z0-9_$]*", name) and name not in RESERVED:
        return name
    return '"%s"' % (name or "?").replace('"', '""')


def literal(value):
    return "'%s'" % str(value).replace("'", "''")


def named(value, what):
    if isinstance(value, str):
        return str(value)
    raise NotRead("%s is not a literal" % what)


def table_of(value, schema=None):
    if isinstance(value, Table):
        value, schema = value.name, value.schema
    name = quoted(named(value, "the name of the table"))
    if schema is None or schema == "":
        return name
    return quoted(named(schema, "the schema")) + "." + name


def columns_of(values):
    if not isinstance(values, (list, tuple)):
        values = [values]
    return ", ".join(key_of(value) for value in values) or '"?"'


# A column or an expression of an index.
def key_of(value):
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Column):
        return key_of(value.name)
    return value.text if isinstance(value, Sql) else '"?"'


def condition_of(value):
    if isinstance(value, str):
        return str(value)
    return value.text if isinstance(value, Sql) else '"?"'


def size_of(args, options, *names):
    sizes = list(args) + [options[name] for name in names if name in options]
    sizes = [str(size) for size in sizes if type(size) is int]
    return "(%s)" % ", ".join(sizes) if sizes else ""


def enumeration(args, options, native):
    labels = [item for arg in args for item in (arg if isinstance(arg, (list, tuple)) else [arg])
              if isinstance(item, str)]
    if native and isinstance(options.get("name"), str):
        return Type(text=table_of(options["name"], options.get("schema")), labels=labels,
                    is_made=options.get("create_type") is not False)
    length = options.get("length")
    length = length if type(length) is int else max([len(label) for label in labels] or [1])
    return Type(text="VARCHAR(%d)" % length)


def make_type(name, args, options, dialect):
    text = TYPES[name]
    if text == "ENUM":
        return enumeration(args, options,
                           dialect == "postgresql" and options.get("native_enum") is not False)
    if text == "ARRAY":
        item = type_of(args[0] if args else options.get("item_type"), dialect)
        return Type(text=item.text + "[]")
    if text in ("TIMESTAMP", "TIME"):
        zone = options.get("timezone", args[0] if args else False)
        text += size_of([], options, "precision") if name.isupper() else ""
        return Type(text=text + (" WITH TIME ZONE" if truth(zone) else " WITHOUT TIME ZONE"))
    if text in ("VARCHAR", "CHAR", "BIT", "NUMERIC"):
        text += size_of([arg for arg in args[:2]], options, "length", "precision", "scale")
    return Type(text=text)


def type_of(value, dialect):
    if isinstance(value, Type):
        return value
    if isinstance(value, (Ref, Made)):
        name = value.dotted.split(".")[-1]
        if name in TYPES:
            return make_type(name, [], {}, dialect)
        return Type(text=quoted(name))
    return Type(text='"?"')


def default_text(value):
    if isinstance(value, Sql):
        return value.text
    if isinstance(value, str):
        return literal(value)
    if isinstance(value, Connection) or isinstance(value, (Made, Ref)) and value.dotted.endswith(
            "FetchedValue"):
        return None
    raise NotRead("the server default is not a literal")


# PostgreSQL's SQL for the operations of Alembic; SQLite's is written in the same way.
class Writer:
    def __init__(self, dialect):
        self.dialect = dialect
        self.postgresql = dialect == "postgresql"

    def concurrently(self, o):
        value = self.postgresql and o.get("postgresql_concurrently", False)
        if truth(value) is None:
            raise NotRead("postgresql_concurrently is not a literal")
        return "CONCURRENTLY " if value else ""

    def if_exists(self, o, name="if_exists"):
        words = {"if_exists": "IF EXISTS ", "if_not_exists": "IF NOT EXISTS "}
        return words[name] if truth(o.get(name, False)) else ""

    def alter(self, o, text):
        return "ALTER TABLE %s %s" % (table_of(o.get("table"), o.get("schema")), text)

    def constraint_name(self, o):
        name = o.get("name")
        return "CONSTRAINT %s " % quoted(name) if isinstance(name, str) else ""

    def not_valid(self, o):
        return " NOT VALID" if self.postgresql and truth(o.get("postgresql_not_valid")) else ""

    def default(self, value):
        text = default_text(value)
        return "" if text is None else " DEFAULT " + text

    def generated(self, part):
        if part.kind == "identity":
            return " GENERATED BY DEFAULT AS IDENTITY"
        stored = "" if part.options.get("persisted") is False else " STORED"
        return " GENERATED ALWAYS AS (%s)%s" % (part.text, stored)

    # The column itself, without its constraints.
    def definition(self, column, is_serial):
        name = quoted(named(column.name, "the name of the column"))
        options = column.options
        kind = type_of(column.type, self.dialect).text
        text = "%s %s" % (name, INTEGERS.get(kind, kind) if is_serial else kind)
        default = options.get("server_default")
        parts = [part for part in column.parts + [default] if isinstance(part, Constraint)
                 and part.kind in ("identity", "computed")]
        if parts:
            text += self.generated(parts[0])
        elif default is not None:
            text += self.default(default)
        required = options.get("nullable", not truth(options.get("primary_key", False)))
        if truth(required) is None:
            raise NotRead("nullable is not a literal")
        return text if required else text + " NOT NULL"

    def is_serial(self, column):
        options = column.options
        kind = type_of(column.type, self.dialect).text
        return (self.postgresql and kind in INTEGERS and truth(options.get("primary_key"))
                and options.get("server_default") is None and not column.parts
                and options.get("autoincrement", True) in (True, "auto"))

    def reference(self, part, columns):
        table, remote = part.target, part.remote
        text = "FOREIGN KEY(%s) REFERENCES %s (%s)" % (columns_of(columns), table, remote)
        return text

    # The constraints of a table, as text.
    def constraints(self, parts, o):
        texts = []
        for part in parts:
            name = self.constraint_name(part.options)
            if part.kind in ("primary", "unique") and part.columns:
                word = "PRIMARY KEY" if part.kind == "primary" else "UNIQUE"
                texts.append("%s%s (%s)" % (name, word, columns_of(part.columns)))
            elif part.kind == "foreign" and part.target:
                texts.append(name + self.reference(part, part.columns))
            elif part.kind == "check":
                texts.append("%sCHECK (%s)" % (name, part.text))
        return texts

    def of_column(self, column, own_key):
        options, parts = column.options, []
        for part in column.parts:
            if isinstance(part, Constraint) and part.kind == "foreign":
                parts.append(Constraint(kind="foreign", columns=[column.name], target=part.target,
                                        remote=part.remote, options=part.options))
            elif isinstance(part, Constraint) and part.kind == "check":
                parts.append(part)
        if truth(options.get("unique")) and not truth(options.get("index")):
            parts.append(Constraint(kind="unique", columns=[column.name], options={}))
        if own_key and truth(options.get("primary_key")):
            parts.append(Constraint(kind="primary", columns=[column.name], options={}))
        return parts

    def index_of(self, o, column):
        if not truth(column.options.get("index")):
            return []
        table = o.get("table")
        name = "ix_%s_%s" % (table, column.name) if isinstance(table, str) else None
        return self.create_index({
            "name": name, "table": table, "columns": [column.name], "schema": o.get("schema"),
            "unique": column.options.get("unique")})

    def enum_types(self, columns):
        made = []
        for column in columns:
            kind = column.type
            if self.postgresql and isinstance(kind, Type) and kind.is_made:
                made += self.create_type(kind)
        return made

    def create_type(self, kind):
        labels = ", ".join(literal(label) for label in kind.labels or [])
        return ["CREATE TYPE %s AS ENUM (%s)" % (kind.text, labels)]

    def create_table(self, o):
        columns = [part for part in o["parts"] if isinstance(part, Column)]
        texts = [self.definition(column, self.is_serial(column)) for column in columns]
        keys = [column.name for column in columns if truth(column.options.get("primary_key"))]
        keys = [] if any(part.kind == "primary" for part in o["parts"]
                         if isinstance(part, Constraint)) else keys
        parts = [Constraint(kind="primary", columns=keys, options={})] if keys else []
        for column in columns:
            parts += self.of_column(column, False)
        parts += [part for part in o["parts"] if isinstance(part, Constraint)]
        texts += self.constraints(parts, o)
        made = self.enum_types(columns)
        made.append("CREATE TABLE %s%s (%s)" % (
            self.if_exists(o, "if_not_exists"), table_of(o.get("table"), o.get("schema")),
            ", ".join(texts)))
        for column in columns:
            made += self.index_of(o, column)
        for part in parts:
            if part.kind == "index":
                made += self.create_index({**part.options, "columns": part.columns,
                                           "table": o.get("table"), "schema": o.get("schema")})
        return made

    def add_column(self, o):
        column = o.get("column")
        if not isinstance(column, Column):
            raise NotRead("the column is not a literal", "add column")
        made = [self.alter(o, "ADD COLUMN " + self.if_exists(o, "if_not_exists")
                           + self.definition(column, self.is_serial(column)))]
        for text in self.constraints(self.of_column(column, True), o):
            made.append(self.alter(o, "ADD " + text))
        return made + self.index_of(o, column)

    def drop_column(self, o):
        return [self.alter(o, "DROP COLUMN " + self.if_exists(o)
                           + quoted(named(o.get("column"), "the name of the column")))]

    def alter_column(self, o):
        name = quoted(named(o.get("column"), "the name of the column"))
        made, column = [], "ALTER COLUMN %s " % name
        if o.get("type_") is not None:
            using = o.get("postgresql_using")
            made.append(self.alter(o, column + "TYPE " + type_of(o["type_"], self.dialect).text
                                   + (" USING " + condition_of(using) if using else "")))
        if o.get("nullable") is not None:
            if truth(o["nullable"]) is None:
                raise NotRead("nullable is not a literal")
            made.append(self.alter(o, column + ("DROP" if o["nullable"] else "SET") + " NOT NULL"))
        if "server_default" in o and o["server_default"] is not False:
            made += self.alter_default(o, column)
        if o.get("new_column_name") is not None:
            new = quoted(named(o["new_column_name"], "the new name"))
            made.append(self.alter(o, "RENAME %s TO %s" % (name, new)))
        return made

    # The type that the file says a column has, by its name.
    def existing_type(self, o):
        names = [o.get("schema"), o.get("table"), o.get("column")]
        names = names[1:] if names[0] in (None, "", "public") else names
        if not all(isinstance(name, str) for name in names):
            return {}
        return {".".join(names): type_of(o["existing_type"], self.dialect).text}

    def alter_default(self, o, column):
        default = o["server_default"]
        if default is None:
            return [self.alter(o, column + "DROP DEFAULT")]
        if isinstance(default, Constraint):
            return [self.alter(o, column + "ADD" + self.generated(default))]
        return [self.alter(o, column + "SET" + self.default(default))]

    def drop_table(self, o):
        return ["DROP TABLE " + self.if_exists(o) + table_of(o.get("table"), o.get("schema"))]

    def rename_table(self, o):
        return [self.alter(o, "RENAME TO " + quoted(named(o.get("to"), "the new name")))]

    def create_index(self, o):
        using, where = o.get("postgresql_using"), o.get("postgresql_where")
        name = o.get("name")
        return ["CREATE %sINDEX %s%s%sON %s%s (%s)%s" % (
            "UNIQUE " if truth(o.get("unique")) else "", self.concurrently(o),
            self.if_exists(o, "if_not_exists"),
            quoted(name) + " " if isinstance(name, str) else "",
            table_of(o.get("table"), o.get("schema")),
            " USING " + using if isinstance(using, str) else "", columns_of(o.get("columns")),
            " WHERE " + condition_of(where) if where is not None else "")]

    def drop_index(self, o):
        return ["DROP INDEX " + self.concurrently(o) + self.if_exists(o)
                + table_of(o.get("name") or "?", o.get("schema"))]

    def create_foreign_key(self, o):
        part = Constraint(target=table_of(o.get("referent"), o.get("referent_schema")),
                          remote=columns_of(o.get("remote")))
        return [self.alter(o, "ADD " + self.constraint_name(o)
                           + self.reference(part, o.get("columns")) + self.not_valid(o))]

    def create_check_constraint(self, o):
        return [self.alter(o, "ADD %sCHECK (%s)%s" % (
            self.constraint_name(o), condition_of(o.get("condition")), self.not_valid(o)))]

    def create_unique_constraint(self, o):
        return [self.alter(o, "ADD %sUNIQUE (%s)" % (self.constraint_name(o),
                                                     columns_of(o.get("columns"))))]

    def create_primary_key(self, o):
        return [self.alter(o, "ADD %sPRIMARY KEY (%s)" % (self.constraint_name(o),
                                                          columns_of(o.get("columns"))))]

    def create_exclude_constraint(self, o):
        parts = [part for part in o["parts"] if isinstance(part, (list, tuple)) and len(part) == 2]
        texts = ["%s WITH %s" % (key_of(key), word if isinstance(word, str) else "=")
                 for key, word in parts]
        return [self.alter(o, "ADD %sEXCLUDE USING gist (%s)" % (
            self.constraint_name(o), ", ".join(texts) or '"?" WITH ='))]

    def drop_constraint(self, o):
        return [self.alter(o, "DROP CONSTRAINT " + self.if_exists(o)
                           + quoted(o.get("name") or "?"))]

    def bulk_insert(self, o):
        return ["INSERT INTO %s DEFAULT VALUES" % table_of(o.get("table"))]

    def create_table_comment(self, o):
        return ["COMMENT ON TABLE %s IS ''" % table_of(o.get("table"), o.get("schema"))]

    drop_table_comment = create_table_comment

    def change(self, change):
        table = table_of(change.table)
        where = " WHERE " + change.where if change.where else ""
        if change.kind == "insert":
            return "INSERT INTO %s DEFAULT VALUES" % table
        if change.kind == "delete":
            return "DELETE FROM %s%s" % (table, where)
        columns = change.columns or ["?"]
        return "UPDATE %s SET %s%s" % (
            table, ", ".join(quoted(column) + " = '?'" for column in columns), where)

    # SQLite lacks most of ALTER TABLE: Alembic copies the table instead.
    def copied(self, batch):
        name, copy = table_of(batch.table, batch.schema), "_alembic_tmp_" + batch.table
        copied = table_of(copy, batch.schema)
        return ["CREATE TABLE %s (LIKE %s)" % (copied, name),
                "INSERT INTO %s SELECT * FROM %s" % (copied, name), "DROP TABLE " + name,
                "ALTER TABLE %s RENAME TO %s" % (copied, quoted(batch.table))]


# The names of the positional arguments, as in Alembic.
SIGNATURES = {
    "add_column": "table column schema", "alter_column": "table column",
    "drop_column": "table column schema", "create_table": "table *", "drop_table": "table schema",
    "rename_table": "table to schema", "create_index": "name table columns schema",
    "drop_index": "name table schema",
    "create_foreign_key": "name table referent columns remote",
    "create_check_constraint": "name table condition schema",
    "create_unique_constraint": "name table columns schema",
    "create_primary_key": "name table columns schema",
    "create_exclude_constraint": "name table *",
    "drop_constraint": "name table type_ schema", "bulk_insert": "table rows",
    "create_table_comment": "table comment", "drop_table_comment": "table",
}
SAME = {
    "table_name": "table", "old_table_name": "table", "source_table": "table",
    "column_name": "column", "constraint_name": "name", "index_name": "name",
    "referent_table": "referent", "local_cols": "columns", "remote_cols": "remote",
    "new_table_name": "to", "source_schema": "schema",
}


# A name that only a run could tell: no other is equal to it.
def unknown_name(line):
    return "? (line %d)" % line


def with_names(o, line):
    for key in ("table", "column", "name", "to", "referent", "new_column_name"):
        value = o.get(key)
        if isinstance(value, OPEN):
            o[key] = unknown_name(line)
        elif isinstance(value, Table) and not isinstance(value.name, str):
            o[key] = Table(name=unknown_name(line), schema=None)
    return o


def bound(name, args, options, batch=None):
    words = SIGNATURES[name].split()
    o = {SAME.get(key, key): value for key, value in options.items()}
    if batch:
        words = [word for word in words if word not in ("table", "schema")]
        o["table"], o["schema"] = batch.table, batch.schema
    if "*" in words:
        o["parts"] = list(args[len(words) - 1:])
    for word, arg in zip([word for word in words if word != "*"], args):
        o[word] = arg
    return o
]==]
