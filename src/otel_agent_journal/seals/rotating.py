"""A key that follows another: a note that both sign, in the log, so that who trusts one of them knows the other."""

from __future__ import annotations

from typing import Final

from otel_agent_journal.seals.keys import Signer, check
from otel_agent_journal.seals.notes import BadNote, Note, PublicKey, Signature, read_note, read_public_key

_BEGINS: Final = "agent-journal/key-follows"


def key_note(old: Signer, new: Signer) -> Note:
    """Return the note by which a key follows another."""
    text = f"{_BEGINS}\n{old.public}\n{new.public}\n"
    data = text.encode()
    return Note(text, tuple(Signature(one.public.name, one.public.key_id, one.sign(data)) for one in (old, new)))


def keys_in(text: str) -> tuple[PublicKey, PublicKey] | None:
    """Return the keys that such a note ties, None where it is none, or was not signed by both."""
    try:
        note = read_note(text)
        begins, *keys = note.text.removesuffix("\n").split("\n")
        old, new = map(read_public_key, keys)
    except (BadNote, ValueError):
        return None
    both = begins == _BEGINS and note.signed_by(old, check) and note.signed_by(new, check)
    return (old, new) if both else None
