"""Text as word numbers for language models: a dictionary, a corpus of three files, and batches for truncated
backpropagation through time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from needle.autograd import Tensor
from needle.backend_ndarray import Device, DType
from needle.backend_ndarray.arguments import path, whole
from needle.backend_ndarray.dtype import as_dtype
from needle.data.locate import exists, is_folder
from needle.errors import DataError, DTypeError, ShapeError, short
from needle.typing import ArrayLike, NumPyArray

EOS = "<eos>"  # the word at the end of each line
FILES = ("train.txt", "valid.txt", "test.txt")
FOLDER = "ptb"


class Dictionary:
    """Words and their numbers: 0, 1, 2, ... in the order in which the words were added.

    Attributes: `word2idx`, the number of each word, and `idx2word`, the list of words.
    """

    def __init__(self) -> None:
        self.word2idx: dict[str, int] = {}
        self.idx2word: list[str] = []

    def add_word(self, word: str) -> int:
        """Returns the word's number, and adds the word if it is new."""
        if not isinstance(word, str):
            raise TypeError(f"add_word: {short(word)}: expected a word, a str")
        number = self.word2idx.setdefault(word, len(self.idx2word))
        if number == len(self.idx2word):
            self.idx2word.append(word)
        return number

    def ids(self, words: Iterable[str]) -> NumPyArray:
        """The numbers of `words`, int32 (N,). Raises DataError for a word that was never added."""
        try:
            words = list(words)
        except TypeError:
            raise TypeError(f"ids: {short(words)}: expected words, in a list") from None
        try:
            return np.array([self.word2idx[word] for word in words], np.int32)
        except (KeyError, TypeError):
            unknown = next(word for word in words if not isinstance(word, str) or word not in self.word2idx)
            raise DataError(f"the word {short(unknown)} is not among the {len(self)} of the dictionary") from None

    def __len__(self) -> int:
        return len(self.idx2word)


class Corpus:
    """The words of train.txt, valid.txt and test.txt, separated by white space, with "<eos>" at the end of each line.

    Attributes: `dictionary`, the words of train.txt in order of first appearance, and `train`, `valid` and `test`, the
    word numbers of each text as int32 (N,).
    """

    def __init__(self, base_dir: str | os.PathLike[str], max_lines: int | None = None) -> None:
        """`base_dir` is the folder with the files, or contains it under the name `ptb`.

        `max_lines` cuts each text after that many lines. It does not affect the dictionary, which covers the whole
        train.txt, so word numbers and the size of a model do not depend on it.
        Raises DataError for a file that is missing, empty or not UTF-8 text, and for a word of valid.txt or test.txt
        that is not in train.txt.
        """
        if max_lines is not None:
            max_lines = whole("Corpus", "max_lines", max_lines, 1, ValueError)
        folder = find_corpus(path("Corpus", "base_dir", base_dir))
        if folder is None:
            raise DataError(f"{base_dir}: holds no {', '.join(FILES)}, and no folder {FOLDER}")
        paths = [folder / name for name in FILES]
        texts = [_read_lines(path) for path in paths]
        self.dictionary = Dictionary()
        for word in dict.fromkeys(_words(texts[0])):
            self.dictionary.add_word(word)
        self.train, self.valid, self.test = (
            _ids(self.dictionary, path, lines[:max_lines]) for path, lines in zip(paths, texts)
        )


def find_corpus(folder: Path) -> Path | None:
    """The folder of a corpus's files that `folder` is or contains. Raises DataError if this cannot be determined."""
    if not is_folder(folder):
        return None
    if not exists(folder / "train.txt") and is_folder(folder / FOLDER):
        return folder / FOLDER
    return folder if any(exists(folder / name) for name in FILES) else None


def batchify(data: ArrayLike, batch_size: int, device: object = None, dtype: str | DType | None = None) -> NumPyArray:
    """Arranges the words `data` (N,) as (N // batch_size, batch_size); each column is a stretch of the text.

    Column j holds the j-th of `batch_size` stretches of equal length; the rest of the text is dropped. With
    batch_size = 4 the letters a to z become

        a g m s
        b h n t
        c i o u
        d j p v
        e k q w
        f l r x

    The array has `dtype`, or that of `data`. `device` is ignored: the array is NumPy's, and `get_batch` moves a few
    rows at a time to a device. A stretch must have at least two words, one as input and one to predict.
    """
    try:
        words = np.asarray(data)
    except ValueError:
        raise ShapeError(f"batchify: {short(data)}: expected the words of a text, of shape (N,)") from None
    batch_size = whole("batchify", "batch_size", batch_size, None, ValueError)
    if words.ndim != 1:
        raise ShapeError(f"batchify: expected the words of a text, of shape (N,), met shape {words.shape}")
    if words.dtype.kind not in "iuf":
        raise DTypeError(f"batchify: expected the numbers of words, met {words.dtype}; see Dictionary.ids")
    if not 1 <= batch_size <= len(words) // 2:
        raise ValueError(
            f"batchify: batch_size {batch_size} does not fit a text of {len(words)} words: "
            f"expected 1 to {len(words) // 2}, which leaves 2 words or more to a column"
        )
    rows = len(words) // batch_size
    columns = words[: rows * batch_size].reshape(batch_size, rows)
    return np.ascontiguousarray(_cast("batchify", columns.T, dtype))


def get_batch(
    batches: NumPyArray, i: int, bptt: int, device: Device | None = None, dtype: str | DType | None = None
) -> tuple[Tensor, Tensor]:
    """Rows i to i + bptt of `batches` (nbatch, B), from `batchify`, and as targets the word that follows each.

    Returns X, (T, B), and y, (T * B,), where y.reshape((T, B)) holds the rows shifted by one. T is `bptt`, or in the
    last batch the rest: min(bptt, nbatch - 1 - i). So `for i in range(0, nbatch - 1, bptt)` covers the whole text.
    Both have `dtype`, or that of `batches`.
    """
    if not isinstance(batches, np.ndarray):
        raise TypeError(f"get_batch: batches of {short(batches)}: expected the array that batchify made")
    if batches.ndim != 2:
        raise ShapeError(f"get_batch: expected batches of shape (nbatch, batch_size), met shape {batches.shape}")
    bptt = whole("get_batch", "bptt", bptt, 1, ValueError)
    if not 0 <= whole("get_batch", "i", i, None) < len(batches) - 1:
        raise ShapeError(f"get_batch: row {i} of {len(batches)}: expected 0 to {len(batches) - 2}, that has a next one")
    rows = _cast("get_batch", batches[i : i + bptt + 1], dtype)
    inputs, targets = rows[:-1], rows[1:].reshape(-1)
    own = as_dtype(rows.dtype)
    return (
        Tensor(inputs, device=device, dtype=own, requires_grad=False),
        Tensor(targets, device=device, dtype=own, requires_grad=False),
    )


def _cast(function: str, ids: NumPyArray, dtype: str | DType | None) -> NumPyArray:
    """`ids` as `dtype`, copied or not; a number that the dtype cannot hold is an error."""
    if dtype is None:
        return ids
    with np.errstate(invalid="ignore"):
        cast = ids.astype(as_dtype(dtype, function).numpy)
    if not np.array_equal(cast, ids):
        raise DTypeError(f"{function}: the word numbers, up to {ids.max()}, are not exact as {dtype}")
    return cast


def _read_lines(path: Path) -> list[str]:
    """The lines of a text file, without line endings."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    if b"\0" in content:
        raise DataError(f"{path}: line {_line_at(content, content.index(0))}: not text: a zero byte")
    try:
        text = content.decode("utf-8-sig")  # some editors put a byte order mark in front
    except UnicodeDecodeError as error:
        line, byte = _line_at(content, error.start), content[error.start]
        raise DataError(f"{path}: line {line}: not UTF-8 text: byte {byte:#04x}") from error
    if not text or text.isspace():
        raise DataError(f"{path}: no words in it, {len(content)} bytes")
    return text.removesuffix("\n").split("\n")


def _line_at(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position) + 1


def _words(lines: Sequence[str]) -> list[str]:
    return f" {EOS} ".join(lines).split() + [EOS]


def _ids(dictionary: Dictionary, path: Path, lines: Sequence[str]) -> NumPyArray:
    try:
        return dictionary.ids(_words(lines))
    except DataError as error:
        is_known = dictionary.word2idx.__contains__
        number = next(number for number, line in enumerate(lines, 1) if not all(map(is_known, line.split())))
        raise DataError(f"{path}: line {number}: {error}") from error
