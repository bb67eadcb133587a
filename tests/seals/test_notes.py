"""Notes, keys and checkpoints: what Go's `sumdb/note` writes is read, and what is written here is what it writes."""

from __future__ import annotations

import pytest

from otel_agent_journal.seals.keys import FileSigner, check
from otel_agent_journal.seals.notes import (
    BadNote,
    Checkpoint,
    PublicKey,
    SecretKey,
    is_name,
    read_checkpoint,
    read_note,
    read_public_key,
    read_secret_key,
    signed,
    written,
)

# The example of the documentation of golang.org/x/mod/sumdb/note.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PETERS_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
# The checkpoint of the Go checksum database at its first records, and its key: from its own tests.
SUMDB = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"


def test_a_note_of_go_is_read() -> None:
    """Text, signature and key are those of Go, byte by byte."""
    note = read_note(PETERS_NOTE)
    key = read_public_key(PETER)
    assert note.text == PETERS_NOTE.partition("\n\n")[0] + "\n"
    assert note.signed_by(key, check)
    assert str(note) == PETERS_NOTE
    assert str(key) == PETER


def test_a_note_is_what_go_writes() -> None:
    """Signed with the key of Go's example, the text of it gives the note of it."""
    secret = read_secret_key(PETER_SECRET)
    signer = FileSigner(secret)
    assert str(signer.public) == PETER
    assert str(signed(read_note(PETERS_NOTE).text, signer.public, signer.sign)) == PETERS_NOTE
    assert written(secret, signer.public) == PETER_SECRET


def test_a_public_key_of_the_world_is_read() -> None:
    """The key of Go's checksum database is one."""
    assert read_public_key(SUMDB).name == "sum.golang.org"


def test_a_changed_text_is_not_signed() -> None:
    """Neither another text, nor another name, nor another key."""
    note, key = read_note(PETERS_NOTE), read_public_key(PETER)
    assert not note._replace(text=note.text.upper()).signed_by(key, check)
    assert not note.signed_by(PublicKey("Peter", key.key), check)
    assert not note.signed_by(PublicKey(key.name, bytes(32)), check)


def test_a_checkpoint_is_read_as_it_was_written() -> None:
    """Origin, size, root, and lines of other meaning, which are kept."""
    checkpoint = Checkpoint("example/log", 17, bytes(range(32)), ("more", "and more"))
    assert read_checkpoint(checkpoint.text) == checkpoint
    assert checkpoint.text == "example/log\n17\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\nmore\nand more\n"


ROOT = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n",
        "a\n1\n",
        "a\n01\n" + ROOT,
        "a\n-1\n" + ROOT,
        "a\n\u0661\n" + ROOT,
        "\n1\n" + ROOT,
        "a\n1\nAAA=\n",
        "a\n1\n!\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    """A size in another form, a root of another length, a line that is missing."""
    with pytest.raises(BadNote):
        read_checkpoint(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text\n",
        "text\n\n- name AAAAAAA=\n",
        "text\n\n\u2014 na+me AAAAAAA=\n",
        "text\n\n\u2014 name AAAA\n",
        "text\n\n\u2014 name !\n",
        "text\n\n\u2014 name AAAAAAB=\n",
        "text\n\n\u2014 name AAAAAAA=",
        "te\x00xt\n\n\u2014 name AAAAAAA=\n",
        "x" * 1_000_001,
    ],
)
def test_what_is_no_note_is_refused(text: str) -> None:
    """No blank line, no dash, a name that parts a line, no base64, or one of several spellings."""
    with pytest.raises(BadNote):
        read_note(text)


@pytest.mark.parametrize(
    "line", ["", "a", "a+b", "a b+c74f20a3+AQ==", PETER.replace("c7", "c8"), PETER[:-4], PETER.replace("+ARp", "+Bxp")]
)
def test_what_is_no_key_is_refused(line: str) -> None:
    """A key without a name, with another's hash, of another length or algorithm."""
    with pytest.raises(BadNote):
        read_public_key(line)


def test_a_public_key_is_no_secret_one() -> None:
    """Nor is a secret key in the message that says so."""
    with pytest.raises(BadNote, match="begins with"):
        read_secret_key(PETER)
    with pytest.raises(BadNote) as refused:
        read_secret_key(PETER_SECRET[:-3])
    assert "AYEK" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "fine"), [("ops-2026", True), ("", False), ("a b", False), ("a+b", False), ("a\n", False)]
)
def test_a_name_parts_no_line(name: str, fine: bool) -> None:
    """Names of keys stand between spaces and plus signs."""
    assert is_name(name) is fine
    assert SecretKey(name, b"").name == name
