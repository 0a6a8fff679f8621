"""How a prompt becomes text: the model's chat template, or plain text without one; and where its labels begin."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from malles_env.consumers.language.base import Prompt
from malles_env.errors import invalid

WORDING = 2
"""Raised when prompts are rendered differently: cached answers of another wording do not count."""


def messages(prompt: Prompt, *, lead_in_question: bool = False) -> list[dict[str, str]]:
    """Return a prompt as chat messages.

    Args:
        prompt: The prompt.
        lead_in_question: Write the beginning of the answer at the question's end, for servers that cannot be given one.
            Where it holds more than an opening such as ``"Answer:"``, say so.
    """
    content = f"{prompt.shared}{prompt.own}"
    if lead_in_question and prompt.lead:
        opening, begun = parted_lead(prompt)
        asked = f"{opening}\nThe answer begins with {begun}; write only what comes next." if begun else opening
        content = f"{content}\n{asked}"
    first = [{"role": "system", "content": prompt.system}] if prompt.system else []
    return [*first, {"role": "user", "content": content}]


def parted_lead(prompt: Prompt) -> tuple[str, str]:
    """Return the opening of a lead, to its last colon, and what of the answer itself is written already behind it.

    ``"Answer: B"`` is ``("Answer:", "B")``: the row of a shelf is chosen, and its place is asked.
    """
    opening, colon, begun = prompt.lead.rpartition(":")
    return opening + colon, begun.strip()


def plain_text(prompt: Prompt) -> str:
    """Return a prompt for a model without a chat template: rules, question, beginning of the answer."""
    parts = (prompt.system and prompt.system + "\n\n", prompt.shared, prompt.own, prompt.lead and "\n" + prompt.lead)
    return "".join(parts)


class Wording:
    """Renders and spells prompts for one tokenizer.

    Text of others cannot open or close a turn: the tokenizer's special tokens, written out in a prompt, lose their
    power by a space after their first character.

    Args:
        tokenizer: A fast tokenizer of transformers.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.chat = bool(getattr(tokenizer, "chat_template", None))
        self._special = sorted((word for word in tokenizer.all_special_tokens if len(word) > 1), key=len, reverse=True)
        added = (str(token) for token in tokenizer.added_tokens_decoder.values() if token.special)
        self._special = sorted({*self._special, *(word for word in added if len(word) > 1)}, key=len, reverse=True)
        self._labels: dict[tuple[str, tuple[str, ...]], tuple[str, tuple[int, ...]]] = {}

    @property
    def digest(self) -> str:
        """Hash of vocabulary and template."""
        words = hashlib.sha256(self.tokenizer.backend_tokenizer.to_str().encode())
        words.update(repr((WORDING, getattr(self.tokenizer, "chat_template", None))).encode())
        return words.hexdigest()

    def text(self, prompt: Prompt) -> str:
        """Return the whole text up to the answer boundary."""
        harmless = self._harmless
        safe = Prompt(harmless(prompt.system), harmless(prompt.shared), harmless(prompt.own), prompt.lead)
        if not self.chat:
            return plain_text(safe)
        turns = messages(safe)
        try:
            opened = self._template(turns)
        except Exception:  # templates refuse a system turn by an exception of their own
            opened = self._template([{"role": "user", "content": "\n\n".join(turn["content"] for turn in turns)}])
        return opened + prompt.lead

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return token ids of whole texts."""
        found = self.tokenizer(list(texts), add_special_tokens=not self.chat, return_attention_mask=False)
        return list(found["input_ids"])

    def label_ids(self, text: str, labels: Sequence[str]) -> tuple[str, tuple[int, ...]]:
        """Return what to write after `text` so that labels are distinguished by the next token, and these tokens.

        A label is the next word: ``" A"`` after ``"Answer:"``, ``"A"`` after a line break. Where the tokenizer splits
        the space off (digits, often), the space is written first. Behind a letter or digit a label goes on with the
        word: ``"3"`` after ``"Answer: B"``. Whatever is chosen, text and label spelled together are the text's tokens
        and then the label's.

        Raises:
            InvalidInput: Two labels begin with the same token.
        """
        key = (text[-40:], tuple(labels))
        if key not in self._labels:
            self._labels[key] = self._find_labels(text, tuple(labels))
        return self._labels[key]

    def _find_labels(self, text: str, labels: tuple[str, ...]) -> tuple[str, tuple[int, ...]]:
        open_end = bool(text) and not text[-1].isspace()
        tries = [("", " "), (" ", ""), ("", "")] if open_end else [("", "")]
        if open_end and text[-1].isalnum():
            tries = [("", ""), ("", " "), (" ", "")]
        for gap, before in tries:
            start, *whole = self.ids([text + gap, *(text + gap + before + label for label in labels)])
            size = len(start)
            if all(ids[:size] == start and len(ids) > size for ids in whole):
                first = tuple(ids[size] for ids in whole)
                if len(set(first)) == len(labels):
                    return gap, first
        raise invalid("labels", list(labels), "labels that begin with different tokens, such as single letters")

    def _template(self, turns: list[dict[str, str]]) -> str:
        return str(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))

    def _harmless(self, text: str) -> str:
        for word in self._special:
            if word in text:
                text = text.replace(word, f"{word[0]} {word[1:]}")
        return text
