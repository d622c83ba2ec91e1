"""Reader of IDX files, the format of MNIST: http://yann.lecun.com/exdb/mnist/, at the bottom of the page."""

import gzip
import math
import zlib

import numpy as np

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CHUNK = 1 << 20


def read_idx(path):
    """Read an IDX file, raw or gzipped (told by its first bytes), as a NumPy array in native byte order.

    The file: two zero bytes, a type code (8 uint8, 9 int8, B int16, C int32, D float32, E float64), the number of
    dimensions, each size as a big-endian uint32, the values row by row. ValueError, with file and byte offset, for a
    file that is not like this: wrong magic number, truncated, more bytes than the sizes say, a broken gzip stream.
    """
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        reader = _Reader(path, gzip.GzipFile(fileobj=file) if zipped else file, zipped)
        return _read_array(reader)


class _Reader:
    """Reads a stream and counts bytes, so that every error can say where."""

    def __init__(self, path, stream, zipped):
        self.path, self.stream, self.zipped = path, stream, zipped
        self.offset = 0

    def fail(self, what, offset=None):
        place = "of the unzipped data" if self.zipped else "of the file"
        raise ValueError(f"{self.path}: {what} (at byte {self.offset if offset is None else offset} {place})")

    def read(self, size):
        """Up to `size` bytes; fewer only at the end. Memory grows with what is there, not with what is asked for."""
        data = bytearray()
        while len(data) < size:
            try:
                chunk = self.stream.read(min(_CHUNK, size - len(data)))
            except EOFError:
                self.fail("truncated: the gzip stream ends early", self.offset + len(data))
            except (gzip.BadGzipFile, zlib.error) as error:
                self.fail(f"broken gzip stream: {error}", self.offset + len(data))
            if not chunk:
                break
            data += chunk
        self.offset += len(data)
        return data


def _read_array(reader):
    magic = reader.read(4)
    if len(magic) < 4:
        reader.fail(f"not an IDX file: it has only {len(magic)} bytes, the magic number takes 4")
    if magic[:2] != b"\0\0" or magic[2] not in _DTYPES or magic[3] == 0:
        reader.fail(
            f"not an IDX file: the magic number is 0x{magic.hex()}, it should be 0x0000TTDD "
            "with type TT in 08 09 0B 0C 0D 0E and DD >= 1 dimensions",
            0,
        )
    dtype, ndim = np.dtype(_DTYPES[magic[2]]), magic[3]
    if ndim > 32:
        reader.fail(f"{ndim} dimensions; at most 32 can be read", 3)
    sizes = reader.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        reader.fail(f"truncated: the sizes of {ndim} dimensions take {4 * ndim} bytes, {len(sizes)} are there")
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, 4 * ndim, 4))
    size = math.prod(shape) * dtype.itemsize
    data = reader.read(size)
    if len(data) < size:
        shown = " x ".join(map(str, shape))
        reader.fail(f"truncated: {shown} values of {dtype.itemsize} bytes take {size} bytes, {len(data)} are there")
    if reader.read(1):
        reader.fail("there are more bytes than the sizes in the header say", reader.offset - 1)
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
