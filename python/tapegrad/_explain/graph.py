"""The graph of a captured program, as Graphviz text and drawn as SVG: layers by longest path, long lines routed."""

from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

_LARGEST = 400  # instructions that can be drawn
_PARTS = {"forward": "#eaf2fb", "backward": "#fdf0e6", "optimizer": "#edf7ea"}
_LINES = {
    "argument": "#1f77b4",
    "state": "#2ca02c",
    "forward": "#444444",
    "backward": "#d65f0e",
    "optimizer": "#2ca02c",
}
_SHOWN = {"argument": "argument", "state": "parameter or state", "forward": "value", "backward": "gradient"}
_FONT = 'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="11"'
_CHAR, _LINE, _PAD = 6.7, 14, 6  # of the font, in px
_GAP, _LANE, _BETWEEN = 14, 6, 34  # between boxes, between lines, between layers
_STRAIGHT = 8  # how much more than a box the rest of a line pulls at a piece of it
_TOGETHER = 6  # values from outside that an instruction has in boxes of their own
_SWEEPS = 10  # over the layers, to order and place what is in them


@dataclass
class _Node:
    """An instruction, or a value that comes from outside: `kind` is "op" or the value's."""

    lines: list
    part: str
    kind: str = "op"
    text: str = ""
    sources: dict = field(default_factory=dict)  # number of a node -> kind of the line
    layer: int = 0


def _graph(program):
    """Nodes in an order in which lines lead from earlier to later ones. Values from outside are there once a part."""
    nodes, writers, boxes = [], {}, {}
    for instruction in program.instructions:
        lines = [instruction.op, *_some([_split(one)[2] for one in instruction.results], 2)]
        if group := program.parts_of(instruction):
            lines.insert(1, " + ".join(_some(group, 3)))
        node = _Node(lines, instruction.part, text=str(instruction))
        outside = {}  # kind -> operands
        for operand in instruction.operands:
            value = _split(operand)[0]
            if value in writers:
                node.sources[writers[value]] = nodes[writers[value]].part
            elif (kind := program.kind(int(value[1:]))) in ("argument", "state"):
                outside.setdefault(kind, []).append(operand)
        for kind, operands in outside.items():
            for group in [operands] if len(operands) > _TOGETHER else [[one] for one in operands]:
                key = node.part, *map(_split, group)
                if key not in boxes:
                    boxes[key] = len(nodes)
                    nodes.append(_box_of(group, node.part, kind))
                node.sources[boxes[key]] = kind
        for result in instruction.results:
            writers[_split(result)[0]] = len(nodes)
        nodes.append(node)
    return nodes


def _box_of(operands, part, kind):
    """The node of a value from outside, or of many together."""
    if len(operands) > 1:
        return _Node(_some([": ".join(_split(one)[1:]) for one in operands], 3), part, kind, ", ".join(operands))
    value, name, layout = _split(operands[0])
    return _Node([name or value, layout], part, kind, operands[0])


def _split(operand):
    """(%number, name, dtype and shape) of an operand."""
    left, _, layout = operand.rpartition(": ")
    value, _, name = left.partition(" ")
    return value, name, layout


def _some(lines, most):
    return lines if len(lines) <= most else [*lines[: most - 1], f"and {len(lines) - most + 1} more"]


def to_dot(program):
    """Graphviz text."""
    nodes = _graph(program)
    lines = [f"digraph {_quoted(program.name)} {{"]
    lines.append("  node [shape=box, style=filled, fontname=monospace, fontsize=10];")
    for part, colour in _PARTS.items():
        inside = [i for i, node in enumerate(nodes) if node.part == part]
        if not inside:
            continue
        lines += [f"  subgraph cluster_{part} {{", f"    label={part}; color=gray;"]
        for i in inside:
            node = nodes[i]
            look = f'fillcolor="{colour}"' if node.kind == "op" else f'fillcolor=white, color="{_LINES[node.kind]}"'
            lines.append(f"    n{i} [label={_quoted(*node.lines)}, tooltip={_quoted(node.text)}, {look}];")
        lines.append("  }")
    for i, node in enumerate(nodes):
        lines += [f'  n{source} -> n{i} [color="{_LINES[kind]}"];' for source, kind in node.sources.items()]
    return "\n".join([*lines, "}", ""])


def _quoted(*lines):
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") for line in lines)
    return '"' + "\\n".join(escaped) + '"'


@dataclass
class _Place:
    """What takes up room in a layer: a node, or a line that passes through."""

    width: float
    before: list = field(default_factory=list)  # places of the layer above
    after: list = field(default_factory=list)
    x: float = 0.0  # of the middle


def _layers(nodes):
    """(layers of places, the place of each node, the places of each line): longest paths; a line takes no step over a
    layer without a place in it.
    """
    first = [len(nodes)] * len(nodes)
    for node in nodes:
        if node.kind == "op":
            node.layer = 1 + max((nodes[s].layer for s in node.sources if nodes[s].kind == "op"), default=0)
            for s in node.sources:
                first[s] = min(first[s], node.layer)
    for i, node in enumerate(nodes):
        if node.kind != "op":
            node.layer = first[i] - 1
    layers = [[] for _ in range(1 + max((node.layer for node in nodes), default=0))]
    places = []
    for node in nodes:
        places.append(_Place(2 * _PAD + _CHAR * max(map(len, node.lines))))
        layers[node.layer].append(places[-1])
    lines = []
    for i, node in enumerate(nodes):
        for source, kind in node.sources.items():
            path = [places[source]]
            for layer in range(nodes[source].layer + 1, node.layer):
                path.append(_Place(_LANE))
                layers[layer].append(path[-1])
            path.append(places[i])
            for above, below in pairwise(path):
                above.after.append(below)
                below.before.append(above)
            lines.append((path, kind, source))
    return layers, places, lines


def _order(layers):
    """Sorts each layer by the middle of its neighbours, downwards and upwards in turn."""
    for layer in layers:
        _number(layer)
    for sweep in range(_SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            middle = {}
            for place in layer:
                near = place.before if sweep % 2 == 0 else place.after
                middle[id(place)] = sum(p.x for p in near) / len(near) if near else place.x
            layer.sort(key=lambda place: middle[id(place)])
            _number(layer)


def _number(layer):
    for i, place in enumerate(layer):
        place.x = float(i) / max(len(layer) - 1, 1)


def _arrange(layers):
    """Gives each place an x near its neighbours', in the order of its layer and without overlap."""
    for layer in layers:
        x = 0.0
        for place in layer:
            place.x = x + place.width / 2
            x += place.width + _gap(place)
        for place in layer:
            place.x -= x / 2
    for sweep in range(_SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wanted = []
            for place in layer:
                near = [*place.before, *place.after]
                pulls = [_STRAIGHT if p.width == place.width == _LANE else 1 for p in near]
                middle = sum(pull * p.x for pull, p in zip(pulls, near, strict=True))
                wanted.append(middle / sum(pulls) if near else place.x)
            right, left = list(wanted), list(wanted)
            for i in range(1, len(layer)):
                right[i] = max(right[i], right[i - 1] + _apart(layer[i - 1], layer[i]))
            for i in range(len(layer) - 2, -1, -1):
                left[i] = min(left[i], left[i + 1] - _apart(layer[i], layer[i + 1]))
            for place, low, high in zip(layer, left, right, strict=True):
                place.x = (low + high) / 2
    edge = min((place.x - place.width / 2 for layer in layers for place in layer), default=0.0)
    for layer in layers:
        for place in layer:
            place.x += _GAP - edge


def _gap(place):
    return _GAP if place.width > _LANE else 0


def _apart(a, b):
    return (a.width + b.width) / 2 + max(_gap(a), _gap(b))


def to_svg(program):
    """The text of an SVG file."""
    if len(program) > _LARGEST:
        raise ValueError(
            f"to_svg: {len(program)} instructions are too many to be read, "
            f"at most {_LARGEST} are drawn; use explain() or to_dot()"
        )
    nodes = _graph(program)
    layers, places, lines = _layers(nodes)
    _order(layers)
    _arrange(layers)
    heights = [0] * len(layers)
    for node in nodes:
        heights[node.layer] = max(heights[node.layer], _height(node))
    tops, y = [], 3.0 * _LINE
    for height in heights:
        tops.append(y)
        y += height + _BETWEEN
    width = max([p.x + p.width / 2 for layer in layers for p in layer] + [_CHAR * len(program.title())]) + _GAP
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{y:.0f}" '
        f'viewBox="0 0 {width:.0f} {y:.0f}" {_FONT}>',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_GAP}" y="{_LINE}">{escape(program.title())}</text>',
        *_legend(),
    ]
    for path, kind, source in lines:
        layer = nodes[source].layer
        start = tops[layer] + _height(nodes[source])
        out.append(f'<path d="{_curve(path, layer, start, tops, heights)}" fill="none" stroke="{_LINES[kind]}"/>')
    for node, place in zip(nodes, places, strict=True):
        out += _box(node, place, tops[node.layer])
    return "\n".join([*out, "</svg>", ""])


def _height(node):
    return len(node.lines) * _LINE + 2 * _PAD


def _legend():
    x = _GAP
    for kind, text in _SHOWN.items():
        yield f'<text x="{x:.0f}" y="{2 * _LINE + 4}" fill="{_LINES[kind]}">{text}</text>'
        x += _CHAR * (len(text) + 2)


def _curve(path, layer, start, tops, heights):
    """From the bottom of the first place to the top of the last, straight through those in between."""
    parts = [f"M{path[0].x:.1f},{start:.1f}"]
    for i, (above, below) in enumerate(pairwise(path), layer):
        bottom, top = tops[i] + heights[i], tops[i + 1]
        parts.append(f"V{bottom:.1f}")
        if abs(above.x - below.x) < 0.5:
            parts.append(f"L{below.x:.1f},{top:.1f}")
        else:
            middle = (bottom + top) / 2
            parts.append(f"C{above.x:.1f},{middle:.1f} {below.x:.1f},{middle:.1f} {below.x:.1f},{top:.1f}")
    return "".join(parts)


def _box(node, place, top):
    height = _height(node)
    x = place.x - place.width / 2
    look = (
        f'fill="{_PARTS[node.part]}" stroke="#888" rx="4"'
        if node.kind == "op"
        else (f'fill="white" stroke="{_LINES[node.kind]}"')
    )
    yield f"<g><title>{escape(node.text)}</title>"
    yield f'<rect x="{x:.1f}" y="{top:.1f}" width="{place.width:.1f}" height="{height:.1f}" {look}/>'
    for i, line in enumerate(node.lines):
        y = top + _PAD + (i + 0.75) * _LINE
        yield f'<text x="{place.x:.1f}" y="{y:.1f}" text-anchor="middle">{escape(line)}</text>'
    yield "</g>"
