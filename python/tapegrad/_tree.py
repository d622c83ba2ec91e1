"""Nested tuples, lists and dicts: their leaves, and the same structure around others."""


def flatten(tree, kind=object):
    """(leaves, rebuild): what the structure holds, in order, and the function that puts others into their places.

    kind: the type of leaves; what is of another one stays where it is.
    """
    leaves = []
    return leaves, _places(tree, kind, leaves)


def _places(tree, kind, leaves):
    if isinstance(tree, (tuple, list)):
        places = [_places(item, kind, leaves) for item in tree]
        make = type(tree)._make if hasattr(tree, "_make") else type(tree)
        return lambda values: make([place(values) for place in places])
    if isinstance(tree, dict):
        named = {key: _places(item, kind, leaves) for key, item in tree.items()}
        make = type(tree)  # not the dict itself, which the function would keep alive with all its tensors
        return lambda values: make((key, place(values)) for key, place in named.items())
    if not isinstance(tree, kind):
        return lambda values: tree
    at = len(leaves)
    leaves.append(tree)
    return lambda values: values[at]


def tree_map(function, tree):
    """The structure with function(leaf) for every leaf."""
    leaves, rebuild = flatten(tree)
    return rebuild([function(leaf) for leaf in leaves])
