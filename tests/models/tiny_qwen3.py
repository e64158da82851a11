"""Makes small random Qwen3 checkpoints, with a tokenizer of their own, so that the tests need no download."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3Model

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
ADDED = ("<think>", "</think>")
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CORPUS = (
    "yes\nno\nsystem\nuser\nassistant\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. "
    "Given a web search query, retrieve relevant passages that answer the query. The keys are rotated every ninety days by the night shift."
)


def make_tokenizer(folder: Path, *, adds_end: bool, answers: bool = True) -> None:
    """A byte-level BPE like Qwen's; `adds_end` gives it the post-processor of the embedding checkpoints."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(WORDS), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    corpus = CORPUS if answers else CORPUS.replace("yes", "").replace("no", "")
    trainer = trainers.BpeTrainer(vocab_size=480, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator([corpus] * 3, trainer)
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.add_tokens(list(ADDED))
    if adds_end:
        end = tokenizer.token_to_id(SPECIAL[0])
        tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {SPECIAL[0]}", special_tokens=[(SPECIAL[0], end)])
    tokenizer.save(str(folder / "tokenizer.json"))


def make_config(vocabulary: int = 512, *, tied: bool = True, context: int = 512) -> Qwen3Config:
    """Two layers, grouped queries, a head dimension that is not hidden / heads: the traits of the official shapes."""
    return Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=context,
        tie_word_embeddings=tied,
    )


def make_checkpoint(
    folder: Path, *, head: bool = True, tied: bool = True, adds_end: bool = True, context: int = 512, dtype: torch.dtype = torch.float32
) -> Path:
    """Save a random checkpoint as `Qwen3ForCausalLM`, or without its head as `Qwen3Model`, whose keys lack the `model.` prefix."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(7)
    network = Qwen3ForCausalLM(make_config(tied=tied, context=context))
    for parameter in network.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.1)  # of default size, so small a network hardly tells texts apart
    saved: Qwen3ForCausalLM | Qwen3Model = network if head else network.model
    saved.to(dtype).save_pretrained(folder)
    make_tokenizer(folder, adds_end=adds_end)
    return folder
