-- A part of a Python program, see dgrun.migrations.source: the values that an expression of a
-- revision file can have.
return [==[
import ast, json, re, resource, sys


class Unknown:
    """A value that only a run could tell."""


UNKNOWN = Unknown()


class Text(str):
    """A literal; lined: each of its lines is a line of the file."""
    line, lined = None, False


class Fields:
    def __init__(self, **fields):
        self.__dict__.update(fields)


class Ref(Fields):
    """dotted: an imported name."""


class Made(Fields):
    """dotted: the result of a call of an imported name."""


class Op:
    """alembic.op."""


class Context:
    """What op.get_context() gives."""


class Batch(Fields):
    """table, schema, copies, line: what op.batch_alter_table gives."""


class Connection:
    """A connection, an engine, a cursor or a session."""
    changed = False


class Dialect:
    """The dialect of the connection."""


class Method(Fields):
    """base, name."""


class Function(Fields):
    """node, scope; first: the object that a method belongs to."""
    first = None


class Partial(Fields):
    """words: a text of which only these pieces are known."""


class Sql(Fields):
    """text, exact: SQL of the file, or an expression of Python's that stands for some."""
    exact, is_call = True, False


class Type(Fields):
    """text; labels: of an enumeration; is_made: its first table creates it."""
    labels, is_made = None, False


class Column(Fields):
    """name, type, parts, options."""


class Constraint(Fields):
    """kind, columns, options and more."""


class Table(Fields):
    """name, schema."""


class Model(Fields):
    """table, names: a class of the file."""


class Object(Fields):
    """model, values: an instance of a class of the file."""


class List(list):
    """unsure: it may have fewer elements."""
    unsure = False


class Change(Fields):
    """kind, table, columns, where: INSERT, UPDATE or DELETE."""


class Query(Fields):
    """table, where, session."""


class Rows(Fields):
    """session: it writes them when they change."""


class Autocommit:
    """op.get_context().autocommit_block()."""


PLAIN = (str, int, float, bool, bytes, type(None), list, tuple, dict, range)
OPEN = (Unknown, Ref, Made, Method, Partial, Query, Rows, Object)


class NotRead(Exception):
    """reason; words: those that are known of what it does."""

    def __init__(self, reason, words=""):
        super().__init__(reason)
        self.reason, self.words = reason, words


# True, False, or None where only a run could tell.
def truth(value):
    if isinstance(value, List) and value.unsure:
        return None
    if isinstance(value, PLAIN):
        return bool(value)
    return None if isinstance(value, OPEN) else True


def same(a, b):
    return a is b or type(a) is type(b) and isinstance(a, PLAIN) and a == b


# Can whoever gets this value reach the database?
def reaches(value):
    if isinstance(value, (list, tuple)):
        return any(reaches(item) for item in value)
    if isinstance(value, dict):
        return any(reaches(item) for item in value.values())
    if isinstance(value, Method):
        return reaches(value.base)
    if isinstance(value, Object):
        return reaches(value.values)
    return isinstance(value, (Op, Batch, Context, Connection))
]==]
