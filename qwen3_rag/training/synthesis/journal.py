"""Every answer that was paid for, on disk before it is used: after a crash at any point it is read instead of asked for again.

One JSON object a line, appended and synced one at a time. It knows nothing of prompts: what an answer answers is a key.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from qwen3_rag.errors import TrainingDataError, TrainingError


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer of the server, and the tokens that it bills; `finish` is why it ended ("stop", "length")."""

    text: str
    finish: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @classmethod
    def of(cls, text: object, finish: object = "stop", prompt_tokens: object = 0, completion_tokens: object = 0) -> Self:
        """From whatever a server put into these: what is no text is empty, what is no number is 0, half a character is a question mark."""
        tokens = [value if isinstance(value, int) else 0 for value in (prompt_tokens, completion_tokens)]
        known = text.encode("utf-8", "replace").decode("utf-8") if isinstance(text, str) else ""
        return cls(known, str(finish), *tokens)


class Journal:
    """Answers by key, in one file that one process writes at a time.

    Raises:
        TrainingError: another process has it open.
        TrainingDataError: a line other than the last one is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.path)
        try:
            self._answers = self._read()
            self._file = self.path.open("ab")
            _sync_folder(self.path.parent)
        except BaseException:
            self._lock.close()
            raise

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> Completion | None:
        """The answer, if there was one."""
        return self._answers.get(key)

    def put(self, key: str, completion: Completion) -> None:
        """Keep an answer; when this returns it is on disk."""
        line = json.dumps({"key": key, **asdict(completion)}, ensure_ascii=False)
        self._file.write(line.encode("utf-8", "surrogatepass") + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._answers[key] = completion

    def close(self) -> None:
        """Let others write. Safe to repeat."""
        self._file.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> dict[str, Completion]:
        """What is there; a last line that a crash has torn is cut off, for its answer was never used."""
        content = self.path.read_bytes() if self.path.exists() else b""
        answers: dict[str, Completion] = {}
        whole, lines = 0, content.splitlines(keepends=True)
        for number, line in enumerate(lines, start=1):
            parsed = _parsed(line) if line.endswith(b"\n") else None
            if parsed is not None:
                answers[parsed[0]] = parsed[1]
            elif number < len(lines):
                raise TrainingDataError(
                    f"{self.path}, line {number}: this is no answer of a server. Take the line away; only its own question is asked again."
                )
            else:
                break
            whole += len(line)
        if whole < len(content):
            os.truncate(self.path, whole)
        return answers


def key_of(**identity: Any) -> str:
    """32 hexadecimal digits that tell one question from every other: the SHA-256 of what it was made of, as canonical JSON."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _parsed(line: bytes) -> tuple[str, Completion] | None:
    try:
        values = json.loads(line.decode("utf-8", "surrogatepass"))
        return values.pop("key"), Completion.of(**values)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _locked(path: Path) -> sqlite3.Connection:
    """An exclusive transaction on an empty file beside the journal: it ends with its process, on every operating system."""
    connection = sqlite3.connect(path.with_name(f"{path.name}.lock"), timeout=0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        connection.close()
        raise TrainingError(
            f"Another process writes into {path} ({error}). Wait for it, or give this run an output of its own: both would pay for the "
            "same answers."
        ) from None
    return connection


def _sync_folder(folder: Path) -> None:
    """Have the file's name survive a power cut too; where folders cannot be opened there is no way to ask for that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
