r"""nano's tokenizer: the teacher's English WordPiece vocabulary, made total and given Qwen3's special tokens.

Three things differ from the teacher's own tokenizer. Words are spelled in bytes before they are looked up, and every single byte
is a token, so that no character is unknown. Line breaks are tokens. And the `Instruct: {task}\nQuery:` of a query is one token, whatever
the task: a model of this size cannot follow instructions, and is spared reading them. It is only made where the text begins with
`Instruct: `, so that a document that merely speaks of queries is not taken for one.

Training adds a token to it that every text begins with (`with_text_marker`): attention has then somewhere to go that is no word.

It knows nothing of vectors. It adds no end-of-text token: the embedder does.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

END_OF_TEXT = "<|endoftext|>"
SPECIAL_TOKENS = (END_OF_TEXT, "<|im_start|>", "<|im_end|>")
THINK_TOKENS = ("<think>", "</think>")
UNKNOWN = "[UNK]"
CONTINUATION = "##"

# Stand-ins for what the normalizer would lose. They are symbols, not control or private-use characters, because the
# teacher's normalizer drops those.
QUERY_MARKER = "␞"
TEXT_MARKER = "␂"
LINE_BREAK = "␤"
PARAGRAPH_BREAK = "␤␤"

LONGEST_WORD = 48
"""Characters. WordPiece takes time quadratic in a word's length, and real documents hold base64."""

_LINE_ENDS = r"\r\n?|[\x0B\f\x{85}\x{2028}\x{2029}]"
_BERT_ONLY = ("[PAD]", UNKNOWN, "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokenizer, and where each of its tokens comes from.

    `teacher_ids[i]` is the teacher's id of token `i` for the first `len(teacher_ids)` tokens; `byte_ids`, `break_ids` and
    `marker_id` are the tokens made here; `special_ids` are the rest.
    """

    tokenizer: Tokenizer
    teacher_ids: list[int]
    byte_ids: list[int]
    break_ids: list[int]
    marker_id: int
    special_ids: list[int]
    end_of_text_id: int

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size(with_added_tokens=True)


def byte_alphabet() -> dict[int, str]:
    """The printable character that stands for each byte, as in every byte-level vocabulary (Radford et al., 2019)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}


def spelled_in_bytes(text: str) -> str:
    """`text` with each byte of its UTF-8 form as the printable character that stands for it."""
    alphabet = byte_alphabet()
    return "".join(alphabet[byte] for byte in text.encode())


def build_vocabulary(teacher_vocab: Path) -> Vocabulary:
    """Make the tokenizer from the teacher's `vocab.txt` (one token a line, the line number is its id)."""
    ids: dict[str, int] = {}
    teacher_ids = []
    for teacher_id, token in enumerate(teacher_vocab.read_text(encoding="utf-8").splitlines()):
        if token in _BERT_ONLY or token.startswith("[unused"):
            continue
        ids[_byte_form(token)] = len(ids)
        teacher_ids.append(teacher_id)
    byte_ids = _append(ids, [prefix + char for char in byte_alphabet().values() for prefix in ("", CONTINUATION)])
    break_ids = _append(ids, [spelled_in_bytes(LINE_BREAK), spelled_in_bytes(PARAGRAPH_BREAK)])
    [marker_id] = _append(ids, [spelled_in_bytes(QUERY_MARKER)])
    [unknown_id] = _append(ids, [UNKNOWN])
    tokenizer = _tokenizer(ids)
    all_ids = tokenizer.get_vocab(with_added_tokens=True)
    added = [all_ids[token] for token in (*SPECIAL_TOKENS, *THINK_TOKENS)]
    return Vocabulary(tokenizer, teacher_ids, byte_ids, break_ids, marker_id, [unknown_id, *added], all_ids[END_OF_TEXT])


def save_tokenizer(vocabulary: Vocabulary, folder: Path, max_length: int) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`."""
    vocabulary.tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "unk_token": UNKNOWN,
        "extra_special_tokens": list(SPECIAL_TOKENS[1:]),
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def with_text_marker(description: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    r"""`tokenizer.json` of a constructed checkpoint, changed so that each text begins with a marker; and the marker's id.

    A query is tokenized in one piece by other libraries and here in two, up to `\nQuery:` and from there on. Both begin it with the query
    marker and the text marker. Special tokens move up by one (`with_token`). An empty text has no tokens.
    """
    changed, marker = with_token(description, TEXT_MARKER)
    steps = changed["normalizer"]["normalizers"]
    query = rf"\A{TEXT_MARKER} Instruct: (?:(?!\nQuery:)[\s\S])*\nQuery:"
    changed["normalizer"]["normalizers"] = [
        replacing({"String": QUERY_MARKER}, " "),
        replacing({"String": TEXT_MARKER}, " "),
        {"type": "Prepend", "prepend": f"{TEXT_MARKER} "},
        replacing({"Regex": rf"{query}\z"}, f" {QUERY_MARKER} "),
        replacing({"Regex": query}, f" {QUERY_MARKER} {TEXT_MARKER} "),
        *without_template(steps),
    ]
    decoders_ = changed["decoder"]["decoders"]
    changed["decoder"]["decoders"] = [*decoders_, *(replacing({"String": sign}, "") for sign in (f"{TEXT_MARKER} ", TEXT_MARKER))]
    return changed, marker


def with_token(description: Mapping[str, Any], symbol: str) -> tuple[dict[str, Any], int]:
    """A copy of `tokenizer.json` with a symbol as its last word, and the symbol's id. Special tokens move up by one."""
    changed: dict[str, Any] = copy.deepcopy(dict(description))
    vocabulary = changed["model"]["vocab"]
    added = vocabulary[spelled_in_bytes(symbol)] = len(vocabulary)
    for offset, token in enumerate(changed["added_tokens"], start=added + 1):
        token["id"] = offset
    return changed, added


def without_template(steps: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of the normalizer's steps those that concern any text: from the one for line ends on."""
    first = next(place for place, step in enumerate(steps) if step.get("pattern") == {"Regex": _LINE_ENDS})
    return list(steps[first:])


def replacing(pattern: Mapping[str, str], content: str) -> dict[str, Any]:
    """A step of a tokenizer's normalizer or decoder, as its file has it."""
    return {"type": "Replace", "pattern": dict(pattern), "content": content}


def _byte_form(token: str) -> str:
    if token.startswith(CONTINUATION) and token != CONTINUATION:
        return CONTINUATION + spelled_in_bytes(token.removeprefix(CONTINUATION))
    return spelled_in_bytes(token)


def _append(ids: dict[str, int], tokens: list[str]) -> list[int]:
    new = [token for token in tokens if token not in ids]
    for token in new:
        ids[token] = len(ids)
    return [ids[token] for token in new]


def _tokenizer(ids: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(
        models.WordPiece(ids, unk_token=UNKNOWN, continuing_subword_prefix=CONTINUATION, max_input_chars_per_word=8 * LONGEST_WORD)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(QUERY_MARKER, " "),
            normalizers.Replace(Regex(r"\AInstruct: [\s\S]*?\nQuery:"), f" {QUERY_MARKER} "),
            normalizers.Replace(Regex(_LINE_ENDS), "\n"),
            normalizers.Replace(Regex(r"\n\s*\n"), f" {PARAGRAPH_BREAK} "),
            normalizers.Replace("\n", f" {LINE_BREAK} "),
            normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=True),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.BertPreTokenizer(),
            pre_tokenizers.Split(Regex(f".{{1,{LONGEST_WORD}}}"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = _decoder()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    # As in the official vocabulary these two are single tokens without being special: decoding shows them.
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in THINK_TOKENS])
    return tokenizer


def _decoder() -> decoders.Decoder:
    return decoders.Sequence(
        [
            decoders.WordPiece(prefix=CONTINUATION, cleanup=False),
            decoders.Replace(" ", byte_alphabet()[ord(" ")]),
            decoders.ByteLevel(),
            decoders.Replace(f" {PARAGRAPH_BREAK}", "\n\n"),
            decoders.Replace(f" {LINE_BREAK}", "\n"),
            decoders.Replace(f" {QUERY_MARKER}", "\nquery:"),  # the end of what the token stands for
        ]
    )
