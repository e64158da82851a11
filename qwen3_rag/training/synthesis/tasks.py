"""The four kinds of pairs that are synthesised: what each may be like, what the model is asked to write, and how a query is embedded.

Question types and difficulties are those of the paper (section 3.3, appendix A.1); the words are this project's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from qwen3_rag.training.pairs import Task


class Difficulty(StrEnum):
    """How much the person who asks is assumed to know."""

    HIGH_SCHOOL = "high_school"
    UNIVERSITY = "university"
    PHD = "phd"


LISTED = frozenset({"other_labels"})
"""Fields that hold several texts."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of pairs.

    Attributes:
        aim: what the pair is for, for the call that chooses.
        types: name → what it means, of which that call picks one.
        order: what the second call is asked to write.
        fields: name → what it holds, of the JSON object that the second call answers.
        instruction: what queries are embedded with; None is the default of retrieval.
        filtered: whether the query's vector must be near the positive's.
    """

    aim: str
    types: Mapping[str, str]
    order: str
    fields: Mapping[str, str]
    instruction: str | None = None
    filtered: bool = True


KINDS: Mapping[Task, Kind] = {
    Task.RETRIEVAL: Kind(
        aim="a search query that this passage answers",
        types={
            "keywords": "a few words as typed into a search box, not a sentence",
            "acquire_knowledge": "a question by someone who wants to learn a fact or how something is done",
            "summary": "a request for the gist of something that the passage treats at length",
            "yes_or_no": "a question that is answered by yes or no",
            "background": "a question about why something is so, or what led to it",
        },
        order=(
            "Write the query that this person would type. The passage must be enough to answer it. It must make sense to someone who has "
            "never seen the passage, so it never says 'the passage', 'the text' or 'this document', and it must not copy a sentence of it."
        ),
        fields={"query": "the query"},
    ),
    Task.BITEXT: Kind(
        aim="a sentence of this passage and its translation",
        types={
            "literal": "stays as close to the wording as the other language allows",
            "idiomatic": "what a native writer would have put",
            "technical": "a sentence full of terms, translated with the terms of the field",
        },
        order="Take one sentence that carries a fact out of the passage, word for word, and translate it completely.",
        fields={"sentence": "the sentence as the passage has it", "translation": "its translation"},
        instruction="Given a sentence, retrieve its translation",
    ),
    Task.SIMILARITY: Kind(
        aim="two short texts that mean the same, and one that only looks as if it did",
        types={
            "paraphrase": "the same fact in other words",
            "compression": "the same fact much shorter",
            "register": "the same fact said to another kind of listener",
        },
        order=(
            "State one fact of the passage in a sentence. State it again so that it means the same with few words in common. Then write a "
            "sentence that shares many words with the first and says something else."
        ),
        fields={"text": "the first sentence", "similar": "the same meaning", "different": "other meaning, many of the same words"},
        instruction="Retrieve semantically similar text",
    ),
    Task.CLASSIFICATION: Kind(
        aim="a short message from the world of this passage, and the class it belongs to",
        types={
            "topic": "the class is what the message is about",
            "intent": "the class is what its writer wants",
            "tone": "the class is the mood it is written in",
        },
        order=(
            "Write a message that this person might send, name its class in one to four words, and name three other classes it could be "
            "taken for."
        ),
        fields={"text": "the message", "label": "its class", "other_labels": "a list of three classes that are wrong"},
        instruction="Classify the message: retrieve the name of its class",
        filtered=False,
    ),
}
