"""What Alembic itself answers about revision graphs: questions (JSON) on stdin, answers on stdout.

For each graph {"dir", "upgrades": [[current, target], …], "downgrades": […]}:
{"heads", "bases", "branches", "history", "upgrades": [{"path"} or {"kind", "text"}, …],
"downgrades"}, or {"kind", "text"} where the files are no graph.
"""
import json
import os
import sys
import warnings

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script import revision as rev

TEXTS = [
    ("Multiple revisions start", "ambiguous_revision"),
    ("not a member of branch", "wrong_branch"),
    ("Ambiguous", "ambiguous_walk"),
    ("overlaps with", "overlap"),
    ("didn't produce", "too_far"),
    ("Walked too far", "too_far"),
    ("Not a valid downgrade", "not_ancestor"),
    ("already used by", "duplicate_label"),
    ("not allowed in revision identifier", "invalid_revision"),
]


def kind_of(error):
    cause = error.__cause__ or error
    if isinstance(cause, rev.MultipleHeads):
        return "multiple_heads"
    if isinstance(cause, rev.RangeNotAncestorError):
        return "not_ancestor"
    if isinstance(cause, rev.CycleDetected):
        return "cycle"
    # "No such branch" hides why the branch was not found.
    if isinstance(cause, rev.ResolutionError) and "No such branch" in str(cause):
        return "unknown_revision"
    for text, kind in TEXTS:
        if isinstance(cause, rev.RevisionError) and text in str(cause):
            return kind
    if isinstance(cause, rev.ResolutionError):
        return "unknown_revision"
    # AssertionError, KeyError, …: Alembic refuses without meaning to.
    return "crash"


def answer(ask):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            found = {"path": ask()}
        except Exception as error:
            found = {"kind": kind_of(error), "text": repr(error)}
    for warning in said:
        if "ambiguous" in str(warning.message):
            return {"kind": "ambiguous_walk", "text": str(warning.message)}
    return found


def steps(list_):
    return [step.revision.revision for step in list_]


def answers(graph):
    os.chdir(graph["dir"])
    script = ScriptDirectory.from_config(Config("alembic.ini"))
    loaded = answer(lambda: [s.revision for s in script.walk_revisions()])
    if "kind" in loaded:
        return loaded
    return {
        "heads": script.get_heads(),
        "bases": script.get_bases(),
        "branches": [s.revision for s in script.walk_revisions() if s.is_branch_point],
        "history": loaded["path"],
        "upgrades": [
            answer(lambda: steps(script._upgrade_revs(target, tuple(current))))
            for current, target in graph["upgrades"]
        ],
        "downgrades": [
            answer(lambda: steps(script._downgrade_revs(target, tuple(current))))
            for current, target in graph["downgrades"]
        ],
    }


json.dump([answers(graph) for graph in json.load(sys.stdin)], sys.stdout)
