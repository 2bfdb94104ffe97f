"""Synthetic text of the Penn Treebank's shape, for machines where the real one is not available.

A sentence follows a small grammar, with pronounceable words that mean nothing:

    sentence = clause (conjunction clause)*
    clause = phrases verb phrases
    phrases = determiner adjective* noun (preposition determiner adjective* noun)*

A sentence keeps to one topic: its adjectives, nouns and verbs all come from the topic's own words. The determiners,
prepositions and conjunctions between them do not reveal the topic, so a model must remember it. It must also remember
whether the clause has had its verb. Words of a kind, and topics, follow Zipf's law: the k-th is k times as rare as the
first.
"""

from __future__ import annotations

import itertools

import numpy as np

from needle.backend_ndarray.arguments import as_seed, whole
from needle.data.corpus import EOS, Dictionary
from needle.errors import OutOfMemoryError
from needle.typing import NumPyArray

TOPICS = 10
# The number of words of each kind, per topic for the kinds in _WITH_TOPIC; 10,000 words in all.
KINDS = {EOS: 1, "determiner": 9, "preposition": 20, "conjunction": 10, "adjective": 200, "noun": 496, "verb": 300}
_WITH_TOPIC = ("adjective", "noun", "verb")

# The grammar as a Markov chain: for each state (a kind of word, and whether it is before or after the verb), the states
# that may follow and their probabilities. A sentence goes from one "<eos>" to the next.
GRAMMAR = {
    EOS: {"determiner before": 1.0},
    "determiner before": {"adjective before": 0.4, "noun before": 0.6},
    "adjective before": {"adjective before": 0.2, "noun before": 0.8},
    "noun before": {"preposition before": 0.25, "verb": 0.75},
    "preposition before": {"determiner before": 1.0},
    "verb": {"determiner after": 1.0},
    "determiner after": {"adjective after": 0.4, "noun after": 0.6},
    "adjective after": {"adjective after": 0.2, "noun after": 0.8},
    "noun after": {"preposition after": 0.25, "conjunction": 0.3, EOS: 0.45},
    "preposition after": {"determiner after": 1.0},
    "conjunction": {"determiner before": 1.0},
}


class SyntheticCorpus:
    """Text of this grammar, with `Corpus`'s attributes: `dictionary`, of 10,000 words, `train`, `valid` and `test`.

    The texts are int32 (N,), with N = num_words for `train` and a tenth of that for `valid` and `test`; they may end in
    the middle of a sentence. The same arguments give the same texts.

    A model that knew the grammar and all probabilities would have a perplexity of 47.4, the lowest possible: the
    exponential of the source's entropy. A model that knows only the word frequencies has about 430.
    """

    def __init__(self, num_words: int = 200_000, seed: int = 0) -> None:
        num_words = whole("SyntheticCorpus", "num_words", num_words, 10, ValueError)
        random = np.random.RandomState(as_seed("SyntheticCorpus", seed))
        self.dictionary = Dictionary()
        for word in _words():
            self.dictionary.add_word(word)
        try:
            texts = [_text(number, random) for number in (num_words, num_words // 10, num_words // 10)]
        except (MemoryError, ValueError):  # the latter for more than 2^63 bytes
            raise OutOfMemoryError(f"SyntheticCorpus: no memory for {num_words} words") from None
        self.train, self.valid, self.test = texts


def zipf(count: int) -> NumPyArray:
    """The probabilities (count,) by Zipf's law: 1 / k for the k-th item, divided by their sum."""
    weights = 1 / np.arange(1, count + 1)
    return np.asarray(weights / weights.sum())


def _words() -> list[str]:
    """<eos> and made-up words; the function words are the shortest."""
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    made_up = itertools.chain.from_iterable(itertools.product(syllables, repeat=length) for length in (1, 2, 3))
    number = sum(size * (TOPICS if kind in _WITH_TOPIC else 1) for kind, size in KINDS.items())
    return [EOS] + ["".join(word) for word in itertools.islice(made_up, number - 1)]


def _text(num_words: int, random: np.random.RandomState) -> NumPyArray:
    """Consecutive sentences, cut off after `num_words` words: int32 (num_words,)."""
    states = _walks(num_words // 6 + 1, random)  # the shortest sentence has 6 words: the dog sees the cat <eos>
    topics = random.choice(TOPICS, len(states), p=zipf(TOPICS))
    topics = np.broadcast_to(topics[:, None], states.shape)[states >= 0][:num_words]
    states = states[states >= 0][:num_words]
    kind_of_state = [state.split()[0] for state in GRAMMAR]
    ids = np.empty(num_words, np.int32)
    start = 0
    for kind, size in KINDS.items():
        where = np.flatnonzero(np.isin(states, [i for i, name in enumerate(kind_of_state) if name == kind]))
        ids[where] = start + random.choice(size, len(where), p=zipf(size))
        if kind in _WITH_TOPIC:
            ids[where] += size * topics[where]
        start += size * (TOPICS if kind in _WITH_TOPIC else 1)
    return ids


def _walks(count: int, random: np.random.RandomState) -> NumPyArray:
    """The states of `count` sentences, (count, longest): indices of GRAMMAR's keys, -1 after a sentence's <eos>."""
    names = list(GRAMMAR)
    up_to = np.cumsum([[GRAMMAR[name].get(next_name, 0) for next_name in names] for name in names], axis=1)
    going = np.arange(count)
    state = np.full(count, names.index(EOS))
    steps = []
    while len(going):
        state = (random.random_sample((len(going), 1)) >= up_to[state]).sum(axis=1)
        steps.append(np.full(count, -1))
        steps[-1][going] = state
        going, state = going[state != names.index(EOS)], state[state != names.index(EOS)]
    return np.stack(steps, axis=1)
