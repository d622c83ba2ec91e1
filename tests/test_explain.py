"""Looking at compiled functions: explain(), the drawn graph, and the profile of a replay."""

from __future__ import annotations

import json
import linecache
import re
from collections import Counter
from xml.etree import ElementTree

import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn


def training(model, optimizer):
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def net():
    tg.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Softplus(), nn.Linear(5, 3))


def batch():
    return tg.randn(4, 6), tg.tensor([0, 1, 2, 0])


@pytest.fixture
def step():
    model = net()
    step = tg.compile(training(model, tg.optim.Adam(model.parameters())))
    data = batch()
    for _ in range(3):
        step(*data)
    return step


def program_of(compiled):
    [program] = compiled.explain().programs
    return program


def test_before_the_first_call():
    compiled = tg.compile(lambda x: x)
    assert "nothing has been captured yet" in str(compiled.explain())
    assert "nothing has been captured yet" in compiled.explain()._repr_html_()
    assert compiled.explain().programs == []
    for look in compiled.to_dot, compiled.to_svg:
        with pytest.raises(RuntimeError, match="nothing has been captured yet"):
            look()


TINY = """\
def tiny(x, scale):
    return tg.sin(x) @ weight * scale
"""
GOLDEN = """\
tiny(x: float32 (2, 3), scale=2.0) -> %5: float32 (2, 4)
  62 FLOP, 220 B moved, 1 threads
  inner values: 88 B as an uncompiled run allocates them, 128 B of arena, 145%
  state: 48 B
  outputs: 32 B; gradients: 0 B
  largest: %3: float32 (2, 4) 32 B; %5: float32 (2, 4) 32 B; %1: float32 (2, 3) 24 B

3 instructions, which the plan left as they were captured
  #  flops  bytes  line       instruction
  forward
  0     6    48 B  tiny.py:2  %1: float32 (2, 3) = sin(%0 x: float32 (2, 3))
  1    48   104 B  tiny.py:2  %3: float32 (2, 4) = matmul(%1: float32 (2, 3), %2 state: float32 (3, 4))
  2     8    68 B  tiny.py:2  %5: float32 (2, 4) = mul(%3: float32 (2, 4), %4 constant 2: float32 ())"""


def test_the_whole_text_of_a_small_program():
    names = {"tg": tg, "weight": tg.ones(3, 4)}
    exec(compile(TINY, "/some/where/tiny.py", "exec"), names)
    tiny = tg.compile(names["tiny"])
    with tg.threads(1):
        tiny(tg.ones(2, 3), 2.0)
        assert str(tiny.explain()) == repr(tiny.explain()) == GOLDEN


def test_a_training_step(step):
    program = program_of(step)
    captured = program.captured
    assert [i.number for i in captured] == list(range(len(captured)))
    assert Counter(i.part for i in captured) == {"forward": 5, "backward": 6, "optimizer": 1}
    assert captured[0].op == "linear" and captured[-1].op == "adam_step_"
    assert captured[0].operands[0] == "%0 x: float32 (4, 6)"
    assert captured[-1].in_place and len(captured[-1].results) == 13  # 4 parameters, 2 moments each, the steps
    assert {i.file for i in captured} == {__file__}
    lines = {linecache.getline(i.file, i.line).strip() for i in captured}
    assert lines == {"loss = F.cross_entropy(model(x), y)", "loss.backward()", "optimizer.step()"}
    assert all(i.flops >= 0 and i.bytes > 0 for i in captured)
    assert program.flops == sum(i.flops for i in program.instructions) > 2 * 4 * (6 * 5 + 5 * 3)
    assert program.state_bytes == 3 * 4 * (6 * 5 + 5 + 5 * 3 + 3) + 4
    assert program.output_bytes == 4
    assert program.inner_bytes >= 4 * (2 * 4 * 5 + 4 * 3)
    text = str(program)
    assert text.startswith("step(x: float32 (4, 6), y: int64 (4,)) -> ")
    for name in "0.weight", "2.bias", "0.weight.exp_avg", "test_explain.py:", "backward", "optimizer", "arena":
        assert name in text
    ElementTree.fromstring(f"<div>{program._repr_html_()}</div>")


def test_what_the_plan_does_is_told():
    model = nn.Linear(300, 200)
    compiled = tg.compile(training(model, tg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)))
    for _ in range(3):
        compiled(tg.ones(4, 300), tg.tensor([0, 1, 2, 0]))
    program = program_of(compiled)
    assert program.changed
    known = range(len(program.captured))
    stood_for = {n for i in program.instructions for n in i.stands_for}
    assert stood_for | set(program.left_out) == set(known) and stood_for.isdisjoint(program.left_out)
    [fused] = [i for i in program.instructions if i.op.startswith("matmul_")]
    assert [program.captured[n].op for n in fused.stands_for] == ["weight_gradient", "sgd_step_"]
    assert f"{fused.stands_for[0]}-{fused.stands_for[1]}" in str(program)
    assert "after planning" in str(program)


def test_dead_and_common_instructions():
    def twice(x):
        x.cos()
        return tg.exp(x + 1) * tg.exp(x + 1)

    compiled = tg.compile(twice)
    compiled(tg.ones(8))
    program = program_of(compiled)
    ops = [i.op for i in program.captured]
    assert ops == ["cos", "add", "exp", "add", "exp", "mul"]
    assert program.left_out == [0]
    assert "left out: 0" in str(program)
    assert program.inner_bytes == 6 * 8 * 4  # as captured, not as shared
    groups = [i.stands_for for i in program.instructions]
    assert sorted(n for group in groups for n in group) == [1, 2, 3, 4, 5]


def test_signatures_have_programs_of_their_own():
    compiled = tg.compile(lambda x, *, flag: {"y": x["a"] + 1, "same": x["b"]} if flag else x["a"])
    with tg.no_grad():
        compiled({"a": tg.ones(2), "b": tg.ones(3)}, flag=True)
    compiled({"a": tg.ones(4), "b": tg.ones(3)}, flag=False)
    first, second = compiled.explain().programs
    assert first.title().startswith("<lambda>(x['a']: float32 (2,), x['b']: float32 (3,), flag=True) -> %")
    assert first.title().endswith("argument 1, under no_grad")
    assert second.title() == "<lambda>(x['a']: float32 (4,), x['b']: float32 (3,), flag=False) -> argument 0"
    assert compiled.to_dot(1) != compiled.to_dot(0)
    ElementTree.fromstring(compiled.to_svg(1))
    with pytest.raises(IndexError, match="program 2 of 2"):
        compiled.to_dot(2)


def test_two_models_are_told_apart():
    first, second = nn.Linear(3, 4), nn.Linear(4, 2)
    compiled = tg.compile(lambda x: second(first(x)))
    compiled(tg.ones(2, 3))
    text = str(compiled.explain())
    assert "Linear0.weight: float32 (4, 3)" in text and "Linear1.weight: float32 (2, 4)" in text


def test_stored_gradients_have_names():
    model = nn.Linear(3, 4)

    @tg.compile
    def gradients(x):
        model.zero_grad()
        model(x).sum().backward()

    for _ in range(2):
        gradients(tg.ones(2, 3))
    program = program_of(gradients)
    assert "weight.grad: float32 (4, 3)" in str(program)
    assert program.gradient_bytes == 4 * (3 * 4 + 4)
    assert program.title() == "gradients(x: float32 (2, 3)) -> None"


def test_a_backward_pass_outside():
    compiled = tg.compile(lambda w, x: (w * x).sum())
    w = tg.ones(5, requires_grad=True)
    compiled(w, tg.ones(5)).backward()
    program = program_of(compiled)
    assert {i.part for i in program.instructions} == {"forward", "backward"}
    assert "gradient of output 0" in str(program)


@pytest.fixture(scope="module")
def long_program():
    weight = tg.full((2, 2), 0.5)

    @tg.compile
    def long(x):
        for _ in range(100_000):
            x = x @ weight
        return x

    long(tg.ones(2, 2))
    return long


def test_long_programs_are_shortened(long_program):
    text = str(long_program.explain())
    assert len(text.splitlines()) < 100
    assert "99940 more" in text
    assert re.search(r"^ +49 ", text, re.M) and not re.search(r"^ +50 ", text, re.M)
    assert re.search(r"^ +99999 ", text, re.M) and not re.search(r"^ +99989 ", text, re.M)
    assert len(long_program.explain()._repr_html_()) < 50_000


def test_only_what_can_be_read_is_drawn(long_program):
    with pytest.raises(ValueError, match=r"100000 instructions are too many.*explain\(\) or to_dot\(\)"):
        long_program.to_svg()


def without_texts(dot):
    """The quoted texts taken out, which must be well-formed; what is left is structure."""
    return re.sub(r'"(\\.|[^"\\\n])*"', "text", dot)


def test_dot(step):
    dot = step.to_dot()
    structure = without_texts(dot)
    assert '"' not in structure and structure.count("{") == structure.count("}") == 4
    assert structure.count("[") == structure.count("]")
    for part in "forward", "backward", "optimizer":
        assert f"subgraph cluster_{part}" in structure
    nodes = set(re.findall(r"^    (n\d+) \[", structure, re.M))
    lines = re.findall(r"^  (n\d+) -> (n\d+)", structure, re.M)
    assert lines and {end for line in lines for end in line} == nodes
    assert len(nodes) >= len(program_of(step).instructions)
    assert "0.weight" in dot


def texts_of(svg):
    root = ElementTree.fromstring(svg)
    return [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]


def boxes_of(svg):
    boxes = ElementTree.fromstring(svg).findall(".//{http://www.w3.org/2000/svg}g/{http://www.w3.org/2000/svg}rect")
    return [tuple(float(box.get(name)) for name in ("x", "y", "width", "height")) for box in boxes]


def test_svg(step):
    svg = step.to_svg()
    texts = texts_of(svg)
    for text in "cross_entropy", "0.weight", "float32 (4, 6)", "x":
        assert text in texts
    boxes = boxes_of(svg)
    assert len(boxes) >= len(program_of(step).instructions)
    for i, (x, y, w, h) in enumerate(boxes):
        assert x >= 0 and y >= 0
        for u, v, a, b in boxes[:i]:  # they do not overlap
            assert x >= u + a or u >= x + w or y >= v + b or v >= y + h


def test_a_few_hundred_instructions_are_drawn():
    tg.manual_seed(0)
    model = nn.Sequential(*[layer for _ in range(40) for layer in (nn.Linear(4, 4), nn.GELU())], nn.Linear(4, 3))
    compiled = tg.compile(training(model, tg.optim.SGD(model.parameters(), lr=0.1)))
    for _ in range(2):
        compiled(tg.ones(2, 4), tg.tensor([0, 1]))
    assert len(program_of(compiled).instructions) > 150
    assert texts_of(compiled.to_svg()).count("linear") == 41


def test_names_are_escaped():
    model = nn.Module()
    model.register_parameter('a<b> & "c\\\x01', nn.Parameter(tg.ones(2)))
    model.forward = lambda x: x * next(model.parameters())
    compiled = tg.compile(lambda x: model(x))
    compiled(tg.ones(2))
    assert 'a<b> & "c\\?' in texts_of(compiled.to_svg())
    assert '"' not in without_texts(compiled.to_dot())
    ElementTree.fromstring(f"<div>{compiled.explain()._repr_html_()}</div>")


def counts(prof):
    return Counter((e.name, e.is_backward) for e in prof.events() if not e.is_range)


def test_a_replay_in_the_profile(tmp_path):
    """Before planning the eager run's ops, forward and backward apart; after it what the plan says."""
    runs = {}
    for kind in "eager", "compiled":
        model = net()
        step = training(model, tg.optim.SGD(model.parameters(), lr=0.1))
        if kind == "compiled":
            step = tg.compile(step)
        data = batch()
        for _ in range(2):
            step(*data)
        with tg.profiler.profile() as prof:
            for _ in range(3):
                step(*data)
        runs[kind] = prof
    program = program_of(step)
    assert counts(runs["eager"]) == Counter([(i.op, i.part == "backward") for i in program.captured] * 3)
    assert counts(runs["compiled"]) == Counter([(i.op, i.part == "backward") for i in program.instructions] * 3)
    assert {e.is_backward for e in runs["compiled"].events() if not e.is_range} == {True, False}
    ranges = Counter(e.name for e in runs["compiled"].events() if e.is_range)
    assert ranges == {"replay": 3}
    replays = [e for e in runs["compiled"].events() if e.is_range]
    ops = [e for e in runs["compiled"].events() if not e.is_range]
    assert all(any(r.start <= e.start <= r.start + r.duration for r in replays) for e in ops)
    runs["compiled"].export_chrome_trace(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert len(trace) == len(ops) + 3
    assert {e["name"] for e in trace if e["args"]["backward"]} == {e.name for e in ops if e.is_backward}


def test_backward_outside_is_profiled_as_backward():
    compiled = tg.compile(lambda w, x: (w * x).exp().sum())
    w, x = tg.ones(5, requires_grad=True), tg.ones(5)
    compiled(w, x).backward()
    with tg.profiler.profile() as prof:
        compiled(w, x).backward()
        tg.exp(x)
    sides = {e.is_backward for e in prof.events() if e.name == "exp"}
    assert sides == {False}
    assert any(e.is_backward and not e.is_range for e in prof.events())


def test_functions_of_the_extension():
    compiled = tg.compile(tg.exp)
    compiled(tg.ones(3))
    assert "exp(" in str(compiled.explain())
