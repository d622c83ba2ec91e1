"""Nested tuples, lists and dicts: their leaves, and the same structure around others."""


def flatten(tree):
    """(leaves, rebuild): what the structure holds, in order, and the function that puts others into their places."""
    if isinstance(tree, (tuple, list)):
        parts = [flatten(item) for item in tree]
        make = type(tree)._make if hasattr(tree, "_make") else type(tree)
    elif isinstance(tree, dict):
        keys = list(tree)
        parts = [flatten(tree[key]) for key in keys]

        def make(values):
            return type(tree)(zip(keys, values, strict=True))
    else:
        return [tree], lambda leaves: leaves[0]
    sizes = [len(leaves) for leaves, _ in parts]

    def rebuild(leaves):
        values, at = [], 0
        for size, (_, part) in zip(sizes, parts, strict=True):
            values.append(part(leaves[at : at + size]))
            at += size
        return make(values)

    return [leaf for leaves, _ in parts for leaf in leaves], rebuild


def tree_map(function, tree):
    """The structure with function(leaf) for every leaf."""
    leaves, rebuild = flatten(tree)
    return rebuild([function(leaf) for leaf in leaves])
