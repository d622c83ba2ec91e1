"""device: PyTorch's name for where a tensor lies. Here that is always the CPU."""


class device:
    """A place for tensors, e.g. device("cpu"); others can be named, but nothing can be put there.

    type: "cpu", "cuda", ..., also with an index behind a colon; another device is copied.
    """

    __slots__ = ("index", "type")

    def __init__(self, type, index=None):
        if isinstance(type, device):
            type, index = type.type, type.index
        elif not isinstance(type, str):
            raise TypeError(f"device: expected a str such as 'cpu', got {type.__class__.__name__}")
        name, colon, number = type.partition(":")
        if not name.isalpha() or (colon and not number.isdigit()) or (colon and index is not None):
            raise ValueError(f"device: expected a name such as 'cpu' or 'cpu:0', got {type!r}")
        self.type = name
        self.index = int(number) if colon else index

    def __eq__(self, other):
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self):
        return hash((self.type, self.index))

    def __str__(self):
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self):
        return f"device(type={self.type!r}" + ("" if self.index is None else f", index={self.index}") + ")"
