"""The type stub of the extension is up to date, and its names are those of the package."""

import ast

import make_stubs
import tapegrad as tg


def test_the_committed_stub_is_what_the_extension_gives():
    committed = make_stubs.PATH.read_text() if make_stubs.PATH.exists() else ""
    assert committed == make_stubs.stubs(), "the extension has changed: run `python tests/make_stubs.py`"


def test_the_stub_parses_and_declares_every_public_name():
    declared = set()
    for node in ast.parse(make_stubs.stubs()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            declared.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            declared.add(node.target.id)
    public = {name for name in vars(tg._core) if not name.startswith("_")}
    assert public <= declared
    assert public <= set(dir(tg))


def test_the_stub_declares_every_member_of_a_tensor():
    (cls,) = (n for n in ast.parse(make_stubs.stubs()).body if isinstance(n, ast.ClassDef) and n.name == "Tensor")
    declared = {n.name if isinstance(n, ast.FunctionDef) else n.target.id for n in cls.body[1:]}
    assert {name for name in vars(tg.Tensor) if not name.startswith("_")} <= declared
