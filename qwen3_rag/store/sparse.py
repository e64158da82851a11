"""BM25 vectors of documents and queries, the same for every backend, each analysed in its own language.

The vectors hold term weights; the collection's IDF modifier supplies the rest. The term weights come from `qdrant_edge.Bm25`, so that
a knowledge base can move from the embedded engine to a server. This module knows nothing of collections or of detecting languages
beyond asking for it.

How a language is analysed, and what it was measured against (nDCG@10; `words.py` does the splitting):

- stemmer and stopwords where the engine has a stemmer: English questions on web passages 0.897 bare → 0.948;
- the first six letters where it has none and the language inflects at the end: help pages in eleven such languages, title → page,
  gained 0.03 to 0.13 over bare words (Czech 0.65 → 0.73, Marathi 0.60 → 0.63), English taken as if it had no stemmer 0.961 → 0.970;
- Thai by the engine's dictionary segmentation;
- words and n-grams as they are for the rest.

The term weights have one set of constants, since vectors made with different ones do not compare. It was chosen on four sets of English
questions that nothing else is judged by (`python -m benchmarks.lexical`), mean nDCG@10 for k, b, BM25 alone and fused with nano:
1.2, 0.75 (what others use) 0.853 and 0.885; 0.9, 0.9 0.856 and 0.886; 0.6, 0.9 0.856 and 0.888; 0.3, 0.9 0.855 and 0.888. A second and
third occurrence of a word says little in a passage of this length. Where results are reported, 0.6, 0.9 gives in place of 1.2, 0.75:
English questions 0.969 for 0.972, web passages 0.946 for 0.948, German 0.947 for 0.950, Chinese 0.965 for 0.964 alone, and fused, English
questions 0.980 for 0.978, web passages 0.977 for 0.976. An average length of 128 words in place of 256 gains 0.001 alone and
loses 0.002 fused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from qdrant_client import models
from qdrant_edge import Bm25, Bm25Config, DisabledStemmer, SnowballLanguage, SnowballParams, StopwordsSet, TokenizerType
from qdrant_edge import Language as StopwordLanguage

from qwen3_rag.store.language import detect, primary
from qwen3_rag.store.words import truncate, words

TRUNCATED_LETTERS = 6

_STEMMERS = {
    "ar": SnowballLanguage.Arabic,
    "da": SnowballLanguage.Danish,
    "de": SnowballLanguage.German,
    "el": SnowballLanguage.Greek,
    "en": SnowballLanguage.English,
    "es": SnowballLanguage.Spanish,
    "fi": SnowballLanguage.Finnish,
    "fr": SnowballLanguage.French,
    "hu": SnowballLanguage.Hungarian,
    "hy": SnowballLanguage.Armenian,
    "it": SnowballLanguage.Italian,
    "nl": SnowballLanguage.Dutch,
    "no": SnowballLanguage.Norwegian,
    "pt": SnowballLanguage.Portuguese,
    "ro": SnowballLanguage.Romanian,
    "ru": SnowballLanguage.Russian,
    "sv": SnowballLanguage.Swedish,
    "ta": SnowballLanguage.Tamil,
    "tr": SnowballLanguage.Turkish,
}
_STOPWORDS = {
    "ar": StopwordLanguage.Arabic,
    "ca": StopwordLanguage.Catalan,
    "da": StopwordLanguage.Danish,
    "de": StopwordLanguage.German,
    "el": StopwordLanguage.Greek,
    "en": StopwordLanguage.English,
    "es": StopwordLanguage.Spanish,
    "fi": StopwordLanguage.Finnish,
    "fr": StopwordLanguage.French,
    "he": StopwordLanguage.Hebrew,
    "hu": StopwordLanguage.Hungarian,
    "id": StopwordLanguage.Indonesian,
    "it": StopwordLanguage.Italian,
    "nl": StopwordLanguage.Dutch,
    "no": StopwordLanguage.Norwegian,
    "pt": StopwordLanguage.Portuguese,
    "ro": StopwordLanguage.Romanian,
    "ru": StopwordLanguage.Russian,
    "sv": StopwordLanguage.Swedish,
    "tr": StopwordLanguage.Turkish,
}
_INFLECTING = "as az be bg bn bs cs et eu gu hi hr ka kk kn ky lt lv mk ml mn mr ne or pa pl si sk sl sq sr te tg tt uk uz"
_TRUNCATED = frozenset(_INFLECTING.split())
_DOTTED_I = frozenset({"tr", "az"})
_NUMBER = re.compile(r"(?<![^\W\d_])\d+")


@dataclass(frozen=True, slots=True)
class TermWeights:
    """BM25's constants: how soon repetition stops counting (`k`), how much length counts (`b`), and a text's usual length in words."""

    k: float = 0.6
    b: float = 0.9
    average_length: float = 256.0


DEFAULT_WEIGHTS = TermWeights()


class Bm25Encoder:
    """Sparse vectors of documents and queries. Safe to share between threads. Other `weights` than the usual are for measuring only."""

    def __init__(self, weights: TermWeights = DEFAULT_WEIGHTS) -> None:
        self._weights = weights

    def documents(self, texts: Sequence[str], languages: Sequence[str | None]) -> list[models.SparseVector]:
        """Term weights of each text in its language (ISO 639-1); None has it detected. A text without words gives an empty vector."""
        return [self._document(text, language) for text, language in zip(texts, languages, strict=True)]

    def query(self, text: str, language: str | None) -> models.SparseVector:
        """Weight 1 for each distinct term; empty when the query holds nothing but stopwords and punctuation."""
        analyser = _analyser(primary(language) or detect(text), self._weights)
        vector = analyser.bm25.embed_query(analyser.prepare(text))
        return models.SparseVector(indices=vector.indices, values=vector.values)

    def query_in(self, text: str, languages: Sequence[str]) -> models.SparseVector:
        """The terms of every one of `languages` (at least one), each once: for a query whose language its few words do not tell."""
        terms = {term for language in languages for term in self.query(text, language).indices}
        return models.SparseVector(indices=sorted(terms), values=[1.0] * len(terms))

    def _document(self, text: str, language: str | None) -> models.SparseVector:
        analyser = _analyser(primary(language) or detect(text), self._weights)
        vector = analyser.bm25.embed_document(analyser.prepare(text))
        return models.SparseVector(indices=vector.indices, values=vector.values)


class _Analyser:
    """How one language's text becomes terms."""

    def __init__(self, language: str, weights: TermWeights) -> None:
        self._language = language
        stemmer, stopwords = _STEMMERS.get(language), _STOPWORDS.get(language)
        self.bm25 = Bm25(
            Bm25Config(
                k=weights.k,
                b=weights.b,
                avg_len=weights.average_length,
                tokenizer=TokenizerType.Multilingual if language == "th" else TokenizerType.Whitespace,
                lowercase=True,
                stopwords=StopwordsSet(languages={stopwords}) if stopwords else StopwordsSet(),
                stemmer=SnowballParams(stemmer) if stemmer else DisabledStemmer(),
            )
        )

    def prepare(self, text: str) -> str:
        """Words divided by spaces."""
        if self._language in _DOTTED_I:  # the engine lowercases without a locale: İ would become two characters and I the wrong letter
            text = text.replace("İ", "i").replace("I", "ı")
        prepared = words(text)
        if self._language in _TRUNCATED:
            return truncate(prepared, TRUNCATED_LETTERS)
        if self._language == "th":  # the multilingual tokenizer drops bare numbers
            return _NUMBER.sub(r" n\g<0> ", prepared)
        return prepared


@lru_cache(maxsize=256)
def _analyser(language: str, weights: TermWeights) -> _Analyser:
    return _Analyser(language, weights)
