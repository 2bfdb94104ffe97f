"""A small text to model: sentences of a noun phrase, a verb and a noun phrase, all equally likely."""

from __future__ import annotations

import random
from pathlib import Path

NOUNS = ("the cat", "a dog", "birds", "my horse")
VERBS = ("sees", "likes", "eats")
WORDS = 11  # with <eos>
# exp of the entropy, log(4 * 3 * 4), of a sentence, shared by its 5.5 words on average, with <eos>
PERPLEXITY = (4 * 3 * 4) ** (1 / 5.5)


def write_text(folder: Path, sentences: int = 120) -> Path:
    """train.txt, and valid.txt and test.txt of a quarter of its size, in `folder`, which is returned."""
    generator = random.Random(0)

    def sentence() -> str:
        return f" {generator.choice(NOUNS)} {generator.choice(VERBS)} {generator.choice(NOUNS)} \n"

    folder.mkdir(exist_ok=True)
    for split, number in (("train", sentences), ("valid", sentences // 4), ("test", sentences // 4)):
        (folder / f"{split}.txt").write_text("".join(sentence() for _ in range(number)))
    return folder


def is_sentence(line: str) -> bool:
    return any(line == f"{subject} {verb} {other}" for subject in NOUNS for verb in VERBS for other in NOUNS)
