"""Checkpoint files on disk: damaged ones are refused by name, and writing one is all or nothing, whatever happens."""

import json
import os
import struct
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.checkpoint import load, load_metadata, save


def entry(begin, end, dtype="U8", shape=None):
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


def put(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ({"a": entry(0, 4)}, 3, "tensor 'a': its data ends at byte 4, but the file has only 3 bytes of data"),
        ({"a": entry(0, 4)}, 5, "the file has 5 bytes of data, its tensors take 4"),
        (
            {"a": entry(0, 4), "b": entry(3, 8)},
            8,
            "tensor 'b': .* begins at byte 3, which overlaps the one before",
        ),
        ({"a": entry(0, 4), "b": entry(5, 8)}, 8, "tensor 'b': its data begins at byte 5, which leaves a gap"),
        ({"a": entry(1, 4)}, 4, "tensor 'a': its data begins at byte 1, which leaves a gap"),
        ({"a": entry(4, 0, shape=[0])}, 4, "tensor 'a': data_offsets must be where its data begins and ends"),
        (
            {"a": entry(0, 4, "F32", [2])},
            4,
            r"'a': shape \[2\] of F32 takes 8 bytes, data_offsets \[0, 4\] give 4",
        ),
        ({"a": entry(0, 4, "F33")}, 4, "tensor 'a': dtype 'F33' is not known"),
        ({"a": entry(0, 4, 3)}, 4, "tensor 'a': dtype 3 is not known"),
        ({"a": entry(0, 4, "U8", [-4])}, 4, "tensor 'a': shape must be whole numbers from 0"),
        ({"a": entry(0, 4, "U8", [4.0])}, 4, "tensor 'a': shape must be whole numbers from 0"),
        ({"a": entry(0, 4, "U8", 4)}, 4, "tensor 'a': shape must be whole numbers from 0"),
        ({"a": entry(0, 0, "U8", [2**62, 2**62, 0])}, 0, "overflow"),
        ({"a": entry(0, 0, "F64", [2**61, 2**61])}, 0, "tensor 'a': shape .* takes"),
        ({"a": {"dtype": "U8"}}, 0, 'tensor \'a\': expected "dtype", "shape" and "data_offsets"'),
        ({"a": [1]}, 0, "tensor 'a': expected"),
        ([1], 0, "header is not a JSON object"),
        (b'{"a": 1', 0, "header is not JSON"),
        (b"", 0, "header is not JSON"),
        (b'{"a\xff": 1}', 0, "header is not UTF-8"),
        (b'{"a":' + b"[" * 100_000, 0, "nested too deeply|not JSON"),
        (
            b'{"a": %b, "a": %b}' % (2 * (json.dumps(entry(0, 2)).encode(),)),
            2,
            "the name 'a' comes twice in its header",
        ),
        (b'{"a": %b, "a": %b}' % tuple(json.dumps(entry(*e)).encode() for e in ((0, 2), (2, 4))), 4, "'a' comes twice"),
        ({"__metadata__": {"k": 1}, "a": entry(0, 2)}, 2, "expected a string"),
    ],
)
def test_headers_that_lie(tmp_path, header, data, message):
    path = tmp_path / "a.safetensors"
    put(path, header, bytes(data))
    for reader in (load, load_metadata):
        with pytest.raises(ValueError, match=rf"a\.safetensors: not a safetensors file, or damaged: .*{message}"):
            reader(path)


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 10**8 + 1, 10**8, 1000, 0])
def test_absurd_lengths_of_the_header(tmp_path, length):
    (tmp_path / "a").write_bytes(struct.pack("<Q", length) + b"{}" + b" " * 6)
    with pytest.raises(ValueError, match="a: not a safetensors file, or damaged: "):
        load(tmp_path / "a")


def test_every_truncation(tmp_path):
    path = tmp_path / "a.safetensors"
    save({"a": tg.ones(3), "b": [1.5, None]}, path)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"a\.safetensors: not a safetensors file, or damaged: "):
            load(path)
    path.write_bytes(whole + b"x")
    with pytest.raises(ValueError, match=r"a\.safetensors: .*the file has"):
        load(path)


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        ("I8", "cannot read tensor 'odd' of dtype int8: tapegrad has bool, float32, .* widens float16 and bfloat16"),
        ("C64", "cannot read tensor 'odd' of dtype complex64"),
        ("F8_E4M3", "cannot read tensor 'odd' of dtype F8_E4M3"),
        ("F4", "cannot read tensor 'odd' of dtype F4"),
        ("BOOL", "damaged: tensor 'odd' of dtype BOOL has bytes other than 0 and 1"),
    ],
)
def test_a_dtype_we_lack_names_the_tensor(tmp_path, dtype, message):
    count = {"C64": 1, "F4": 16}.get(dtype, 8)
    put(tmp_path / "h", {"fine": entry(8, 16), "odd": entry(0, 8, dtype, [count])}, bytes(7) + b"\x02" + bytes(8))
    with pytest.raises(ValueError, match=f"h: {message}"):
        load(tmp_path / "h")


def test_more_axes_than_numpy_has(tmp_path):
    put(tmp_path / "h", {"deep": entry(0, 1, "U8", [1] * 200)}, b"x")
    with pytest.raises(ValueError, match="h: cannot read tensor 'deep' of dtype U8"):
        load(tmp_path / "h")


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("3", "not what save"),
        ({"format": 2, "value": 1}, "has format 2, this version reads 1"),
        ({"format": 1}, "not what save"),
        ({"format": 1, "value": 1}, "has no place for tensor 'a'"),
        ({"format": 1, "value": [{"tensor": "a"}, {"tensor": "b"}]}, "tensor 'b' is missing"),
        ({"format": 1, "value": {"tensor": ["a"]}}, "which save"),
        ({"format": 1, "value": {"bytes": "a"}}, "tensor 'a' should be bytes, but is float32"),
        ({"format": 1, "value": {"set": []}}, r"\{'set': \[\]\}, which save"),
        ({"format": 1, "value": {}}, "which save"),
        ({"format": 1, "value": {"dict": [], "tuple": []}}, "which save"),
        ({"format": 1, "value": {"dict": [[1]]}}, "not made of keys and values"),
        ({"format": 1, "value": {"dict": [[[], 1]]}}, "with the key"),
        ({"format": 1, "value": {"dict": [[1, 1], [True, 1]]}}, "with the key True, wrong or twice"),
        ({"format": 1, "value": {"int": "10"}}, "which save"),
        ({"format": 1, "value": {"float": "1"}}, "which save"),
        ({"format": 1, "value": {"float": []}}, "which save"),
        ({"format": 1, "value": {"dtype": "Tensor"}}, "which save"),
    ],
)
def test_structures_that_save_does_not_write(tmp_path, structure, message):
    text = structure if isinstance(structure, str) else json.dumps(structure)
    header = {"__metadata__": {"tapegrad.structure": text}, "a": entry(0, 4, "F32", [1])}
    put(tmp_path / "run.ckpt", header, bytes(4))
    with pytest.raises(ValueError, match=rf"run\.ckpt: .*{message}"):
        load(tmp_path / "run.ckpt")


@pytest.fixture(scope="module")
def wholes(tmp_path_factory):
    """Valid files, as bytes."""
    folder = tmp_path_factory.mktemp("valid")
    mixed = {"a": [tg.ones(2, 3), np.arange(3), b"xyz", 2**70, (1.5, None)], "b": {3: tg.tensor([True, False])}}
    save(mixed, folder / "nested")
    save({"w": tg.ones(2, 2), "b": tg.tensor([3], dtype=tg.int32)}, folder / "plain", {"note": "x"})
    put(folder / "half", {"h": entry(0, 4, "BF16", [2]), "f": entry(4, 8, "F16", [2, 1])}, bytes(8))
    return [(folder / name).read_bytes() for name in ("nested", "plain", "half")]


@settings(deadline=None, max_examples=400)
@given(st.data())
def test_any_damage_loads_or_is_a_value_error(wholes, tmp_path_factory, data):
    damaged = bytearray(data.draw(st.sampled_from(wholes)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from(b'"{}[],:019')))
    if data.draw(st.booleans()):
        damaged = damaged[: data.draw(st.integers(0, len(damaged)))]
    path = tmp_path_factory.getbasetemp() / "damaged.ckpt"
    path.write_bytes(damaged)
    for reader in (load, load_metadata):
        try:
            reader(path)
        except ValueError as error:
            assert "damaged.ckpt" in str(error)


def test_file_mode_follows_the_umask(tmp_path):
    for mask in (0o022, 0o077, 0o002):
        old = os.umask(mask)
        try:
            save({"a": tg.zeros(1)}, tmp_path / "ours")
            (tmp_path / f"plain{mask}").write_bytes(b"")
        finally:
            os.umask(old)
        assert (tmp_path / "ours").stat().st_mode == (tmp_path / f"plain{mask}").stat().st_mode


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, call):
    path = tmp_path / "a.safetensors"
    save({"a": tg.ones(2)}, path)

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        save({"a": tg.zeros(2)}, path)
    monkeypatch.undo()
    assert load(path)["a"].tolist() == [1.0, 1.0]
    assert os.listdir(tmp_path) == ["a.safetensors"]


def run(code, *arguments):
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)


FULL_DISK = """
import resource, sys
import tapegrad as tg
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    tg.save({"a": tg.zeros(100_000)}, sys.argv[1])
except OSError as error:
    assert sys.argv[1] in str(error), error
    print("refused")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_full_disk_leaves_the_old_file(tmp_path):
    save({"a": tg.ones(2)}, tmp_path / "a")
    done = run(FULL_DISK, str(tmp_path / "a"))
    assert done.stdout == "refused\n", done.stderr
    assert load(tmp_path / "a")["a"].tolist() == [1.0, 1.0] and os.listdir(tmp_path) == ["a"]


READ_ONLY = """
import os, sys
import tapegrad as tg
path = os.path.join(sys.argv[1], "a")
tg.save({"a": tg.ones(2)}, path)
os.chmod(sys.argv[1], 0o555)
if os.geteuid() == 0:
    os.seteuid(65534)  # root may write everywhere
try:
    tg.save({"a": tg.zeros(1)}, path)
except PermissionError as error:
    assert path in str(error), error
    print("refused")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="folders have other permissions there")
def test_a_read_only_folder():
    with tempfile.TemporaryDirectory() as folder:
        done = run(READ_ONLY, folder)
        os.chmod(folder, 0o755)
        assert done.stdout == "refused\n", done.stderr
        assert load(folder + "/a")["a"].tolist() == [1.0, 1.0] and os.listdir(folder) == ["a"]


# A process imports the library and forks, which is faster than 50 processes that import it. Its children save two
# states in turn until they are killed.
KILLS = """
import os, random, signal, sys, time
import tapegrad as tg
path, rng = sys.argv[1], random.Random(0)
states = [{"w": [tg.full((50_000,), float(i)), tg.full((7,), float(i))], "epoch": i} for i in range(2)]
tg.save(states[0], path)
for _ in range(50):
    child = os.fork()
    while child == 0:
        tg.save(states[0], path)
        tg.save(states[1], path)
    time.sleep(rng.uniform(0.002, 0.05))
    os.kill(child, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    loaded = tg.load(path)
    print(loaded["epoch"], *(tensor.unique().tolist() for tensor in loaded["w"]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_process_leaves_a_whole_file(tmp_path):
    done = run(KILLS, str(tmp_path / "run.ckpt"))
    lines = done.stdout.splitlines()
    assert len(lines) == 50, done.stderr
    assert set(lines) == {"0 [0.0] [0.0]", "1 [1.0] [1.0]"}
    stale = [p for p in tmp_path.iterdir() if p.name != "run.ckpt"]
    assert stale, "none was killed while it wrote"
    for p in stale:
        os.utime(p, (0, 0))  # as if they had been killed long ago
    save({"a": tg.ones(1)}, tmp_path / "other")
    assert sorted(os.listdir(tmp_path)) == ["other", "run.ckpt"]


def test_folders_of_others_at_work_stay(tmp_path):
    """What a process that is alive is writing is not taken for left behind."""
    fcntl = pytest.importorskip("fcntl")
    others = tmp_path / ".tapegrad-save-0123456789ab", tmp_path / ".tapegrad-save-ba9876543210"
    for folder in others:
        folder.mkdir()
        (folder / "a").write_bytes(b"")
        os.utime(folder, (0, 0))
    opened = os.open(others[0], os.O_RDONLY)
    fcntl.flock(opened, fcntl.LOCK_EX)
    save({"a": tg.ones(1)}, tmp_path / "a")
    assert others[0].exists() and not others[1].exists()
    os.close(opened)
    save({"a": tg.ones(1)}, tmp_path / "a")
    assert os.listdir(tmp_path) == ["a"]


def test_threads_that_save_to_one_path(tmp_path):
    path = tmp_path / "a"
    states = [{"w": tg.full((1000,), float(i)), "i": i} for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: save(states[i % 8], path), range(64)))
    loaded = load(path)
    assert (loaded["w"] == loaded["i"]).all().item() and os.listdir(tmp_path) == ["a"]
