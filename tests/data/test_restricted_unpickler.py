from __future__ import annotations

import builtins
import os
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from needle.data import restricted_unpickler
from needle.data.restricted_unpickler import load, loads
from needle.errors import DataError
from tests.data.published_layout import Python2Pickler, cifar10_contents, integer, string

PROTOCOLS = range(2, 6)
GLOBAL_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n"
EMPTY_ARRAY = GLOBAL_ARRAY + b"(cnumpy\nndarray\nK\x00\x85U\x01btR"
UINT8 = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def refused(data: bytes, message: str | None = None) -> None:
    with pytest.raises(DataError, match=message) as raised:
        loads(data, "the file")
    assert str(raised.value).startswith("the file: ")


class Calls:
    """An object whose pickle calls `function(*arguments)` when it is loaded."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values_of_python_3(protocol):
    value = {
        "numbers": [0, -1, 255, 256, 65536, -(2**31), 2**40, -(2**70), 1.5, float("inf")],
        "others": (None, True, False, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}),
        "text": "é" * 300,
        "bytes": bytes(range(256)) * 2,
        "nested": [[{"a": [{"b": ()}]}]],
    }
    value["again"] = value["nested"]
    loaded = loads(pickle.dumps(value, protocol=protocol))
    assert loaded == value
    assert loaded["again"] is loaded["nested"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "<i2", ">u2", "<i4", "int64", "float16", ">f4", "float64"])
def test_arrays_of_python_3(protocol, dtype):
    rows = np.random.RandomState(0).randint(0, 2, (3, 4)).astype(dtype)
    value = {"C": rows, "Fortran": np.asfortranarray(rows), "3d": rows.reshape(3, 2, 2), "0d": np.array(rows[0, 0])}
    data = pickle.dumps({**value, "again": rows}, protocol=protocol)
    loaded, by_python = loads(data), pickle.loads(data)
    assert loaded["again"] is loaded["C"]
    for key, array in value.items():
        assert loaded[key].dtype == by_python[key].dtype and loaded[key].shape == array.shape
        np.testing.assert_array_equal(loaded[key], array)


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_pickles_of_python_2(module):
    contents = cifar10_contents(seed=1, count=300)
    data = Python2Pickler().dumps(contents).replace(b"numpy.core.multiarray", module)
    loaded = loads(data)
    assert loaded.keys() == contents.keys()
    assert loaded[b"labels"] == contents[b"labels"] and loaded[b"filenames"] == contents[b"filenames"]
    np.testing.assert_array_equal(loaded[b"data"], contents[b"data"])
    # What the writer of these tests makes is what Python's own reader takes it for.
    np.testing.assert_array_equal(pickle.loads(data, encoding="bytes")[b"data"], contents[b"data"])


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "function, arguments",
    [
        (os.system, ("touch {canary}",)),
        (builtins.eval, ("open('{canary}', 'w')",)),
        (builtins.exec, ("open('{canary}', 'w')",)),
        (builtins.open, ("{canary}", "w")),
        (builtins.getattr, ("{canary}", "upper")),
        (np.save, ("{canary}", 1)),
        (np.memmap, ("{canary}", "u1", "w+", 0, 10)),
        (np.ndarray.tofile, ("{canary}",)),
        (np.ones, (3,)),
        (bytearray, (10,)),
        (__import__, ("antigravity",)),
    ],
)
def test_nothing_is_called(tmp_path, protocol, function, arguments):
    canary = tmp_path / "canary.npy"
    arguments = tuple(a.format(canary=canary) if isinstance(a, str) else a for a in arguments)
    refused(pickle.dumps(Calls(function, *arguments), protocol=protocol), "refers to|instruction|makes something other")
    refused(pickle.dumps([{"data": Calls(function, *arguments)}], protocol=protocol))
    assert not canary.exists()


def test_the_attack_of_these_tests_works_on_python_s_own_unpickler(tmp_path):
    canary = tmp_path / "canary"
    pickle.loads(pickle.dumps(Calls(os.system, f"touch {canary}")))
    assert canary.exists()


@pytest.mark.parametrize(
    "data, message",
    [
        (b"\x80\x02cnumpy\nndarray\nJ\x00\x00\x00\x40\x85R.", "makes something other"),  # ndarray((2**30,))
        (b"\x80\x02cnumpy\ndtype\nU\x01OK\x00K\x01\x87R.", "dtype 'O'"),
        (b"\x80\x02cnumpy\ndtype\nU\x04V100K\x00K\x01\x87R.", "dtype 'V100'"),
        (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00rot\x86R.", "makes something other"),
        (b"\x80\x02" + GLOBAL_ARRAY + b"(cnumpy\nndarray\nJ\x00\x00\x00\x40\x85U\x01btR.", "makes something other"),
        (b"\x80\x02" + EMPTY_ARRAY + b"}U\x05shapeK\x01sb.", "other than a NumPy array of numbers"),  # set attributes
        (b"\x80\x02cnumpy\nndarray\n}U\x01aK\x01sb.", "other than a NumPy array of numbers"),  # set a class's
        (b"\x80\x02" + EMPTY_ARRAY + b"(K\x01K\x02\x85" + UINT8 + b"\x89U\x03abctb.", r"shape \(2,\) .* with 3 bytes"),
        (b"\x80\x02" + EMPTY_ARRAY + b"(K\x01J\xff\xff\xff\xff\x85" + UINT8 + b"\x89U\x03abctb.", "malformed shape"),
        (b"\x80\x02" + EMPTY_ARRAY + b"(K\x01(" + b"K\x01" * 99 + b"t" + UINT8 + b"\x89U\x01atb.", "malformed shape"),
        (b"\x80\x02(cos\nsystem\nU\x02id\x86R.", "refers to os.system"),
        (b"\x80\x02cnumpy\ndtype.__class__\n.", "refers to numpy.dtype.__class__"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0e_core.umath.pi\x93.", "refers to numpy._core.umath.pi"),
        (b"\x80\x04K\x01\x8c\x01a\x93.", "refers to something unnamed"),
        (b"\x80\x02U\x01aQ.", r"instruction b'Q'"),  # a persistent id
        (b"\x80\x02\x82\x01.", r"instruction b'\\x82'"),  # the extension registry
        (b"\x80\x02cnumpy\nndarray\n)\x81.", r"instruction b'\\x81'"),  # NEWOBJ
        (b"\x80\x02(ios\nsystem\n.", r"instruction b'i'"),  # INST
        (b"\x80\x02}K\x01K\x02s.", "a dict key is no string"),
        (b"\x80\x02}(U\x01au.", "a dict key is no string"),
        (b"\x80\x02]U\x01aU\x01bs.", "sets items of what is no dict"),
        (b"\x80\x02}U\x01aa.", "appends to what is no list"),
        (b"\x80\x02.", "not a well-formed pickle"),
        (b"\x80\x02a.", "not a well-formed pickle"),
        (b"\x80\x02K\x01\x86.", "not a well-formed pickle"),
        (b"\x80\x02t.", "not a well-formed pickle"),
        (b"\x80\x02h\x07.", "not a well-formed pickle"),
        (b"\x80\x02X\x01\x00\x00\x00\xff.", "not a well-formed pickle"),
        (b"\x80\x02K\x01K\x02.", "ends with values left over"),
        (b"\x80\x02(K\x01.", "ends with values left over"),
        (b"\x80\x02N.rest", "4 bytes follow the end"),
        (b"", "truncated: 1 bytes expected, 0 left"),
        (b"\x80\x02cnumpy", "truncated within a name"),
    ],
)
def test_malformed_and_hostile_programs(data, message):
    refused(data, message)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02T\xff\xff\xff\xff",  # a string of 4 GiB
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62),  # bytes of 4 EiB
        b"\x80\x04\x96" + struct.pack("<Q", 2**63),  # a bytearray, of which pickle allocates all at once
        b"\x80\x02Nr\xff\xff\xff\x7f.",  # a memo slot at 2**31, up to which pickle allocates
        b"\x80\x02" + EMPTY_ARRAY + b"(K\x01" + integer(2**30) * 3 + b"\x87" + UINT8 + b"\x89U\x01atb.",
        # A string of 60 kB, made into bytes 1,000 times.
        b"\x80\x02X"
        + struct.pack("<I", 60000)
        + b"a" * 60000
        + b"q\x01]"
        + b"c_codecs\nencode\nh\x01X\x06\x00\x00\x00latin1\x86Ra" * 1000
        + b".",
        # One buffer of 60 kB, made into 1,000 arrays.
        b"\x80\x02"
        + string(b"a" * 60000)
        + b"q\x01]"
        + (EMPTY_ARRAY + b"(K\x01" + integer(60000) + b"\x85" + UINT8 + b"\x89h\x01tba") * 1000
        + b".",
    ],
)
def test_small_files_do_not_ask_for_much_memory(data):
    tracemalloc.start()
    try:
        try:
            loads(data)
        except DataError:
            pass
        assert tracemalloc.get_traced_memory()[1] < 20 * len(data) + 100_000
    finally:
        tracemalloc.stop()


def test_deep_nesting_is_read_or_refused_without_a_crash():
    depth = 300_000  # frames of more than 27 bytes would overflow a C stack of 8 MiB
    value = loads(b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b".")
    assert value[0][0][0] != []
    del value
    value = loads(b"\x80\x02)" + b"\x85" * depth + b".")
    assert len(value) == 1
    del value
    # Hashing the key, or comparing the state, would overflow the C stack.
    refused(b"\x80\x02})" + b"\x85" * depth + b"K\x01s.", "a dict key is no string")
    refused(b"\x80\x02" + EMPTY_ARRAY + b")" + b"\x85" * depth + b"b.", "makes something other")
    refused(b"\x80\x02cnumpy\ndtype\n)" + b"\x85" * depth + b"R.", "makes something other")


def test_a_program_without_end_is_refused(monkeypatch):
    program = b"\x80\x02]" + b"Na" * 500 + b"."
    assert len(loads(program)) == 500
    monkeypatch.setattr(restricted_unpickler, "_MAX_INSTRUCTIONS", 1000)
    refused(program, "more than 1000 pickle instructions")


def test_every_truncation_is_refused():
    data = Python2Pickler().dumps(cifar10_contents(seed=0, count=2))
    for end in [*range(200), *range(200, len(data), 97), len(data) - 1]:
        refused(data[:end])


@settings(deadline=None, max_examples=300)
@given(st.integers(2, 5), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8))
def test_an_altered_file_gives_a_value_or_a_data_error(protocol, changes):
    value = {"data": np.arange(6, dtype=np.uint8).reshape(2, 3), "labels": [1, 2, 300], "name": (b"a", "b", None)}
    data = bytearray(pickle.dumps(value, protocol=protocol))
    for place, byte in changes:
        data[place % len(data)] = byte
    try:
        loads(bytes(data))
    except DataError:
        pass


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from([b"", EMPTY_ARRAY, UINT8]),
    st.lists(st.sampled_from(list(b"KNU(t])}abesuqhR\x85\x86\x87\x8a\x94.\x01")), max_size=30),
)
def test_random_programs_give_a_value_or_a_data_error(start, program):
    try:
        loads(start + bytes(program))
    except DataError:
        pass


def test_load_names_the_file(tmp_path):
    (tmp_path / "good").write_bytes(pickle.dumps({"a": 1}))
    assert load(tmp_path / "good") == {"a": 1}
    (tmp_path / "bad").write_bytes(b"\x80\x02")
    with pytest.raises(DataError, match=r"bad: the file is truncated: 1 bytes expected, 0 left \(at byte 3\)"):
        load(tmp_path / "bad")
    with pytest.raises(DataError, match="missing: No such file or directory"):
        load(tmp_path / "missing")
    with pytest.raises(DataError, match="Is a directory"):
        load(tmp_path)
