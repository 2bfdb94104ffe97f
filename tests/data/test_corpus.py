from __future__ import annotations

import string
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import needle as ndl
from needle.data import Corpus, Dictionary, batchify, get_batch
from needle.errors import DataError, DTypeError, ShapeError

TRAIN = " the cat sees the dog \n the dog sleeps \n\n the mouse sees N <unk> \n"
VALID = " the mouse sleeps \n"
TEST = " N dog sees \n the <unk> \n"
WORDS = ["the", "cat", "sees", "dog", "<eos>", "sleeps", "mouse", "N", "<unk>"]


@pytest.fixture
def folder(tmp_path):
    """A folder with the three files, as they are published: each line begins and ends with a space."""
    for name, text in (("train.txt", TRAIN), ("valid.txt", VALID), ("test.txt", TEST)):
        (tmp_path / name).write_text(text)
    return tmp_path


# Dictionary


def test_dictionary():
    dictionary = Dictionary()
    assert [dictionary.add_word(word) for word in ("to", "be", "or", "not", "to", "be")] == [0, 1, 2, 3, 0, 1]
    assert dictionary.idx2word == ["to", "be", "or", "not"]
    assert dictionary.word2idx == {"to": 0, "be": 1, "or": 2, "not": 3}
    assert len(dictionary) == 4


def test_dictionary_ids():
    dictionary = Dictionary()
    for word in WORDS:
        dictionary.add_word(word)
    ids = dictionary.ids("the dog sleeps".split())
    assert ids.dtype == np.int32 and ids.tolist() == [0, 3, 5]
    assert dictionary.ids([]).shape == (0,)
    with pytest.raises(DataError, match="the word 'horse' is not among the 9 of the dictionary"):
        dictionary.ids(["the", "horse"])
    assert len(dictionary) == 9


# Corpus


def test_words_are_numbered_in_order_of_first_appearance_with_eos_after_each_line(folder):
    corpus = Corpus(folder)
    assert corpus.dictionary.idx2word == WORDS
    assert corpus.train.tolist() == [0, 1, 2, 0, 3, 4, 0, 3, 5, 4, 4, 0, 6, 2, 7, 8, 4]
    assert corpus.valid.tolist() == [0, 6, 5, 4]
    assert corpus.test.tolist() == [7, 3, 2, 4, 0, 8, 4]
    assert {text.dtype for text in (corpus.train, corpus.valid, corpus.test)} == {np.dtype(np.int32)}


def test_the_folder_may_be_held_by_the_one_given(folder, tmp_path_factory):
    outer = tmp_path_factory.mktemp("outer")
    folder.rename(outer / "ptb")
    assert Corpus(str(outer)).train.tolist() == Corpus(outer / "ptb").train.tolist()


def test_a_stray_file_beside_the_folder_does_not_hide_it(folder, tmp_path_factory):
    outer = tmp_path_factory.mktemp("outer")
    folder.rename(outer / "ptb")
    (outer / "test.txt").write_text("notes\n")
    assert len(Corpus(outer).train) == 17
    (outer / "train.txt").write_text("notes\n")
    (outer / "valid.txt").write_text("notes\n")
    assert len(Corpus(outer).train) == 2


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_end_of_the_last_line_may_be_missing_or_of_another_system(folder, end):
    (folder / "test.txt").write_bytes(b"the cat\r\nthe dog" + end.encode())
    assert Corpus(folder).test.tolist() == [0, 1, 4, 0, 3, 4]


def test_a_byte_order_mark_is_no_part_of_the_first_word(folder):
    for name in ("train.txt", "valid.txt", "test.txt"):
        (folder / name).write_bytes(b"\xef\xbb\xbfthe cat\n")
    assert Corpus(folder).dictionary.idx2word == ["the", "cat", "<eos>"]


def test_batchify_takes_numbers():
    with pytest.raises(DTypeError, match="batchify: expected the numbers of words, met <U1"):
        batchify(list("abcdefgh"), 2)


def test_words_are_any_utf8_and_only_white_space_separates_them(folder):
    (folder / "train.txt").write_text("n\u00e3o \u6f22\u5b57\tthe-cat's\n", encoding="utf-8")
    (folder / "valid.txt").write_text("\u6f22\u5b57", encoding="utf-8")
    (folder / "test.txt").write_text("the-cat's", encoding="utf-8")
    corpus = Corpus(folder)
    assert corpus.dictionary.idx2word == ["n\u00e3o", "\u6f22\u5b57", "the-cat's", "<eos>"]
    assert corpus.valid.tolist() == [1, 3]


def test_max_lines_cuts_the_texts_and_not_the_dictionary(folder):
    corpus = Corpus(folder, max_lines=1)
    assert corpus.dictionary.idx2word == WORDS
    assert corpus.train.tolist() == [0, 1, 2, 0, 3, 4]
    assert corpus.valid.tolist() == [0, 6, 5, 4]  # with a word of the training text's fourth line
    assert corpus.test.tolist() == [7, 3, 2, 4]
    assert Corpus(folder, max_lines=100).train.tolist() == Corpus(folder).train.tolist()


@pytest.mark.parametrize("max_lines", [0, -1])
def test_max_lines_is_positive(folder, max_lines):
    with pytest.raises(ValueError, match=f"Corpus: max_lines of {max_lines}: expected a whole number of 1 or more"):
        Corpus(folder, max_lines=max_lines)


@pytest.mark.parametrize("name", ["valid.txt", "test.txt"])
def test_an_unknown_word_is_named_with_its_file_and_line(folder, name):
    (folder / name).write_text(" the cat \n\n the horse sleeps \n the cow \n")
    with pytest.raises(DataError) as raised:
        Corpus(folder)
    assert str(raised.value) == f"{folder / name}: line 3: the word 'horse' is not among the 9 of the dictionary"
    assert Corpus(folder, max_lines=2).train.size == 10


@pytest.mark.parametrize("name", ["train.txt", "valid.txt", "test.txt"])
@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "no words in it, 0 bytes"),
        (b" \n\n", "no words in it, 3 bytes"),
        (b"the cat\nthe \xff dog\n", "line 2: not UTF-8 text: byte 0xff"),
        (b"\x1f\x8b\x08 of a gzip file", "line 1: not UTF-8 text: byte 0x8b"),
        ("the cat\n".encode("utf-16-le"), "line 1: not text: a zero byte"),
        (b"the cat\n\nthe\0", "line 3: not text: a zero byte"),
        ("the caf\u00e9".encode("latin1"), "line 1: not UTF-8 text: byte 0xe9"),
    ],
)
def test_files_that_are_no_text(folder, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(DataError) as raised:
        Corpus(folder)
    assert str(raised.value) == f"{folder / name}: {message}"


@pytest.mark.parametrize("name", ["train.txt", "valid.txt", "test.txt"])
def test_files_that_are_missing_or_folders(folder, name):
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"{name}: No such file or directory"):
        Corpus(folder)
    (folder / name).mkdir()
    with pytest.raises(DataError, match=f"{name}: Is a directory"):
        Corpus(folder)


def test_a_folder_without_any_of_them(tmp_path):
    with pytest.raises(DataError, match=f"^{tmp_path}: holds no train.txt, valid.txt, test.txt, and no folder ptb"):
        Corpus(tmp_path)
    with pytest.raises(DataError, match="nowhere: holds no train.txt"):
        Corpus(tmp_path / "nowhere")


def test_a_million_words_take_a_moment(folder):
    """0.2 seconds; the limit is for machines that do other things meanwhile."""
    words = np.array([f"w{number}" for number in range(10000)])
    lines = words[np.random.RandomState(0).randint(0, 10000, (50_000, 19))]
    (folder / "train.txt").write_text("the N <unk> cat dog sees mouse sleeps\n" + "\n".join(map(" ".join, lines)))
    start = time.perf_counter()
    corpus = Corpus(folder)
    assert time.perf_counter() - start < 3
    assert len(corpus.train) == 1_000_009 and len(corpus.dictionary) == 10009
    assert [corpus.dictionary.idx2word[number] for number in corpus.train[9:28]] == lines[0].tolist()


# batchify and get_batch


def test_batchify_the_alphabet():
    """The picture in its docstring, which is the course's."""
    letters = np.array([ord(letter) for letter in string.ascii_lowercase])
    picture = [line.split() for line in batchify.__doc__.splitlines() if len(line.split()) == 4]
    rows = [[chr(number) for number in row] for row in batchify(letters, 4)]
    assert rows == [row for row in picture if all(len(letter) == 1 for letter in row)]
    assert rows[0] == ["a", "g", "m", "s"] and len(rows) == 6


@given(length=st.integers(2, 200), data=st.data())
def test_batchify_and_get_batch_are_what_their_formulas_say(length, data):
    words = np.random.RandomState(length).randint(0, 10000, length).astype(np.int32)
    batch_size = data.draw(st.integers(1, length // 2))
    bptt = data.draw(st.integers(1, length))
    batches = batchify(words, batch_size, device=ndl.cpu_numpy())
    nbatch = length // batch_size
    assert batches.shape == (nbatch, batch_size) and batches.dtype == np.int32 and batches.flags.c_contiguous
    seen = []
    for i in range(0, nbatch - 1, bptt):
        x, y = get_batch(batches, i, bptt, device=ndl.cpu_numpy())
        rows = min(bptt, nbatch - 1 - i)
        assert x.shape == (rows, batch_size) and y.shape == (rows * batch_size,)
        expected = [[words[column * nbatch + i + t] for column in range(batch_size)] for t in range(rows)]
        following = [words[column * nbatch + i + t + 1] for t in range(rows) for column in range(batch_size)]
        assert x.numpy().tolist() == expected and y.numpy().tolist() == following
        seen.append(x.numpy())
    np.testing.assert_array_equal(np.concatenate(seen), batches[:-1])


def test_without_a_dtype_batches_are_of_the_words_own(folder, device):
    x, y = get_batch(batchify(Corpus(folder).train, 3), 1, 2, device=device)
    assert x.dtype == y.dtype == "int32" and x.device == y.device == device
    assert not x.requires_grad and not y.requires_grad


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "uint8", "int64"])
def test_dtypes(device, dtype):
    """The course passes float32 to both, or to batchify alone."""
    words = list(range(20))
    batches = batchify(words, 2, device=device, dtype=dtype)
    assert batches.dtype.name == dtype
    for x, y in (
        get_batch(batches, 0, 5, device=device, dtype=dtype),
        get_batch(batches, 0, 5, device=device),
        get_batch(batchify(words, 2), 0, 5, device=device, dtype=dtype),
    ):
        assert x.dtype == y.dtype == dtype
        assert x.numpy()[4].tolist() == [4, 14] and y.numpy()[:2].tolist() == [1, 11]


@pytest.mark.parametrize("dtype, too_large", [("float16", 2049), ("bfloat16", 257), ("int8", 128), ("bool", 2)])
def test_a_dtype_that_cannot_hold_the_numbers(dtype, too_large):
    message = f"the word numbers, up to {too_large}, are not exact as {dtype}"
    with pytest.raises(DTypeError, match=f"batchify: {message}"):
        batchify([0, 1, 0, too_large], 2, dtype=dtype)
    with pytest.raises(DTypeError, match=f"get_batch: {message}"):
        get_batch(batchify([0, 1, 0, too_large], 2), 0, 1, dtype=dtype)
    assert batchify([0, 1, 0, 1], 2, dtype=dtype).tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("batch_size", [0, -1, 6, 11, 1000])
def test_a_batch_size_that_does_not_fit(batch_size):
    with pytest.raises(ValueError, match=f"batchify: batch_size {batch_size} does not fit a text of 11 .* 1 to 5"):
        batchify(range(11), batch_size)


def test_words_that_are_no_text():
    with pytest.raises(ShapeError, match=r"of shape \(N,\), met shape \(2, 2\)"):
        batchify([[1, 2], [3, 4]], 1)
    with pytest.raises(ShapeError, match=r"of shape \(nbatch, batch_size\), met shape \(4,\)"):
        get_batch(np.arange(4), 0, 1)


@pytest.mark.parametrize("bptt", [0, -3])
def test_bptt_is_positive(bptt):
    with pytest.raises(ValueError, match=f"get_batch: bptt of {bptt}: expected a whole number of 1 or more"):
        get_batch(batchify(range(20), 2), 0, bptt)


@pytest.mark.parametrize("i", [-1, 9, 10])
def test_rows_without_a_next_one(i):
    with pytest.raises(ShapeError, match=f"get_batch: row {i} of 10: expected 0 to 8, that has a next one"):
        get_batch(batchify(range(20), 2), i, 5)
    assert get_batch(batchify(range(20), 2), 8, 5)[0].shape == (1, 2)
