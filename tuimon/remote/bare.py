"""A program as a machine reads it: without what is for people, so that it is sent sooner. Pure."""

from __future__ import annotations

import ast
import builtins
import itertools
import re
from collections.abc import Iterator
from string import ascii_letters


def bare(source: str) -> str:
    """No comments, no docstrings, no types, and short names for what is a function's own."""
    text = ast.unparse(stripped(source))
    return re.sub(r"(?m)^(?: {4})+", lambda indent: " " * (len(indent[0]) // 4), text)   # a test holds the two alike


def stripped(source: str) -> ast.Module:
    """The same, as a tree."""
    tree = ast.parse(source)
    everywhere = [one for one in tree.body if not isinstance(one, ast.FunctionDef | ast.ClassDef)]
    known = {*dir(builtins), *(one.name for one in tree.body if isinstance(one, ast.FunctionDef | ast.ClassDef)),
             *(name for one in everywhere for name in (*_assigned(one), *_bound(one)))}
    _Bare(frozenset(known)).visit(tree)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for one in tree.body:
        if isinstance(one, ast.ImportFrom) and one.module == "typing":
            one.names = [name for name in one.names if name.name in used] or [ast.alias("Any")]
    return tree


class _Bare(ast.NodeTransformer):
    """Leaves out what is for people."""

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known
        """What means something wherever it stands."""
        self._is_within = False

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """What is within first."""
        node = super().generic_visit(node)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            said = [one for one in node.body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
            node.body = said or [ast.Pass()]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """No types of what goes in and out; its own names, and those of functions within, are shortened together."""
        node.returns = None
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
            argument.annotation = None
        is_outermost, self._is_within = not self._is_within, True
        self.generic_visit(node)
        if is_outermost:
            self._is_within = False
            _shorten(node, self._known)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Of a record's fields that there is one: which, nobody asks."""
        if not self._is_within:
            node.annotation = ast.Name("int", ast.Load())
            return self.generic_visit(node)
        self.generic_visit(node)
        plain = ast.Assign([node.target], node.value) if node.value is not None else ast.Pass()
        return ast.fix_missing_locations(ast.copy_location(plain, node))


def _shorten(function: ast.FunctionDef, known: frozenset[str]) -> None:
    """What is assigned there; no argument, for those may be passed by name."""
    fixed = {*known, *_bound(function)}
    own = [name for name in _assigned(function) if len(name) > 1 and name not in fixed]
    names = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
    taken = {*fixed, *(node.id for node in names)}
    free = (name for name in _short() if name not in taken)
    new = {name: next(free) for name in dict.fromkeys(own)}
    for node in names:
        node.id = new.get(node.id, node.id)


def _short() -> Iterator[str]:
    return map("".join, itertools.chain(ascii_letters, itertools.product(ascii_letters, repeat=2)))


def _assigned(within: ast.AST) -> Iterator[str]:
    return (node.id for node in ast.walk(within) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))


def _bound(within: ast.AST) -> Iterator[str]:
    """What has a name otherwise than by being assigned."""
    for node in ast.walk(within):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Global | ast.Nonlocal):
            yield from node.names
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.ExceptHandler | ast.FunctionDef):
            yield node.name or ""
