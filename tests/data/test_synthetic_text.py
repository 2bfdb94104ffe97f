from __future__ import annotations

import time

import numpy as np
import pytest

from needle.data import SyntheticCorpus
from needle.data.synthetic_text import GRAMMAR, KINDS, TOPICS, zipf

WITH_TOPIC = ("adjective", "noun", "verb")
# Of each word of the dictionary: its kind, its topic (-1 if none) and its place by frequency in the kind, from 0.
KIND, TOPIC, RANK = (
    np.array(column)
    for column in zip(
        *[
            (kind, topic, rank)
            for kind, size in KINDS.items()
            for topic in (range(TOPICS) if kind in WITH_TOPIC else [-1])
            for rank in range(size)
        ]
    )
)


@pytest.fixture(scope="module")
def corpus():
    return SyntheticCorpus()


def perplexity(words, remembers_topic=True):
    """Of the words after the first <eos>, for a reader who knows the grammar and perhaps remembers a sentence's topic.

    Who does not remember tells the topic from the word before, or has to guess.
    """
    words = words[np.flatnonzero(words == 0)[0] :]
    surprise, state, topic = [], "<eos>", -1
    topics = zipf(TOPICS)
    of_rank = {kind: zipf(size) for kind, size in KINDS.items()}
    for word in words[1:].tolist():
        (following,) = (name for name in GRAMMAR[state] if name.split()[0] == KIND[word])
        probability = GRAMMAR[state][following] * of_rank[KIND[word]][RANK[word]]
        if KIND[word] in WITH_TOPIC:
            if topic < 0:
                probability *= topics[TOPIC[word]]
            assert topic in (-1, TOPIC[word])
            topic = TOPIC[word]
        if word == 0 or not remembers_topic and KIND[word] not in WITH_TOPIC:
            topic = -1
        surprise.append(-np.log(probability))
        state = following
    return np.exp(np.mean(surprise))


def test_it_has_the_attributes_and_the_dictionary_of_the_penn_treebank(corpus):
    assert len(corpus.dictionary) == len(set(corpus.dictionary.idx2word)) == len(KIND) == 10000
    assert corpus.dictionary.idx2word[0] == "<eos>"
    assert all(word.isalpha() and word.islower() for word in corpus.dictionary.idx2word[1:])
    assert [len(text) for text in (corpus.train, corpus.valid, corpus.test)] == [200_000, 20_000, 20_000]
    for text in (corpus.train, corpus.valid, corpus.test):
        assert text.dtype == np.int32 and text.min() == 0 and text.max() < 10000


def test_the_same_arguments_give_the_same_texts():
    a, b, other = SyntheticCorpus(1000), SyntheticCorpus(1000), SyntheticCorpus(1000, seed=1)
    for name in ("train", "valid", "test"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert np.any(getattr(a, name) != getattr(other, name))
    assert np.any(a.valid != a.test) and np.any(a.valid != a.train[:100])
    assert a.dictionary.idx2word == other.dictionary.idx2word


def test_making_it_draws_nothing_from_the_global_generator():
    np.random.seed(5)
    SyntheticCorpus(100)
    assert np.random.rand() == np.random.RandomState(5).rand()


def test_words_follow_zipfs_law(corpus):
    """The k-th most frequent word is about k times as rare as the first."""
    frequency = np.sort(np.bincount(corpus.train))[::-1]
    ranks = np.array([1, 10, 100, 1000])
    assert np.all(np.abs(np.log(frequency[ranks - 1] * ranks / frequency[0])) < np.log(1.6))


def test_sentences_are_as_long_as_sentences(corpus):
    lengths = np.diff(np.flatnonzero(corpus.train == 0))
    assert lengths.min() == 6 and 15 < lengths.mean() < 16 and np.quantile(lengths, 0.95) < 45


def test_the_grammar_is_one_of_probabilities():
    for following in GRAMMAR.values():
        assert set(following) <= set(GRAMMAR)
        assert sum(following.values()) == 1
        kinds = [name.split()[0] for name in following]
        assert len(set(kinds)) == len(kinds)  # so that a word tells the state
    np.testing.assert_allclose(zipf(4), np.array([12, 6, 4, 3]) / 25)


def entropy(probabilities):
    return -np.sum([p * np.log(p) for p in probabilities if p])


def test_the_perplexity_that_cannot_be_bettered_is_the_one_stated(corpus):
    """That of the source, from its formula, and as measured on the texts."""
    chain = np.array([[GRAMMAR[a].get(b, 0) for b in GRAMMAR] for a in GRAMMAR])
    often = np.linalg.matrix_power((chain + np.eye(len(chain))) / 2, 10000)[0]  # how often each state is met
    choices = [entropy(row) + entropy(zipf(KINDS[state.split()[0]])) for state, row in zip(GRAMMAR, chain)]
    of_source = np.exp(often @ choices + often[0] * entropy(zipf(TOPICS)))
    assert f"{of_source:.1f}" in SyntheticCorpus.__doc__
    assert perplexity(corpus.train[:100_000]) == pytest.approx(of_source, rel=0.02)
    assert perplexity(corpus.valid) == pytest.approx(of_source, rel=0.05)


def test_memory_pays(corpus):
    """The topic has to be remembered over the words between; and a reader of single words is far worse off."""
    assert perplexity(corpus.valid, remembers_topic=False) > 1.5 * perplexity(corpus.valid)
    frequency = np.bincount(corpus.train, minlength=10000) + 1
    of_single_words = np.exp(-np.log(frequency / frequency.sum())[corpus.valid].mean())
    assert of_single_words > 5 * perplexity(corpus.valid)


def test_it_takes_a_second_and_not_a_minute():
    start = time.perf_counter()
    SyntheticCorpus()
    assert time.perf_counter() - start < 10


def test_bad_number():
    with pytest.raises(ValueError, match="num_words of 9: expected a whole number of 10 or more"):
        SyntheticCorpus(9)
    assert len(SyntheticCorpus(10).valid) == 1
