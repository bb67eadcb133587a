"""Files that show one event to be sealed: by this package, and by the verifier that knows nothing of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from otel_agent_journal import seals
from otel_agent_journal.errors import CodecError, StoreError
from otel_agent_journal.seals.anchors import FileAnchor
from otel_agent_journal.seals.erasing import erase
from otel_agent_journal.seals.log import Log
from otel_agent_journal.seals.proofs import problems_of, proof_of, read_proof
from otel_agent_journal.store.memory import MemoryStore
from tests.seals.sessions import NOW_NS, a_session, keep, late, seal, signer

VERIFIER = Path(seals.__path__[0]) / "verify_seal.py"


def alone(file: Path, *keys: str) -> tuple[int, str]:
    """Run the stand-alone verifier, where this package cannot be imported; return its exit code and what it says."""
    blocked = "import sys; sys.modules['otel_agent_journal'] = None; import runpy; sys.argv = sys.argv[1:]; "
    run = f"{blocked}runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", run, str(VERIFIER), str(file), *keys]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def store(tmp_path: Path) -> MemoryStore:
    """Three sealed sessions and an anchor, made before the third."""
    made = MemoryStore()
    for one in ("a", "s", "z"):
        keep(made, a_session(one))
    seal(made, "a", "s")
    head = Log(made).head()
    assert head is not None
    FileAnchor(tmp_path / "anchors").put(head.note, head.size, NOW_NS)
    seal(made, "z")
    return made


def test_every_event_is_shown(store: MemoryStore, tmp_path: Path) -> None:
    """Each of a session, with its content and the anchor; by both verifiers, with the right key alone."""
    anchors = list(FileAnchor(tmp_path / "anchors").kept())
    key, other = signer().public, signer("x", 2).public
    for event in store.read("s"):
        proof = proof_of(store, event, anchors)
        assert problems_of(read_proof(msgspec.json.encode(proof)), [key]) == []
        assert len(proof.anchors) == 1
        assert problems_of(proof, [other]) != []
    file = tmp_path / "proof.json"
    file.write_bytes(msgspec.json.encode(proof))
    code, said = alone(file, str(key))
    assert code == 0, said
    assert "scattering" in said
    assert "anchored at" in said
    assert alone(file, str(other))[0] == 5


def test_an_erased_event_is_shown_without_what_is_gone(store: MemoryStore, tmp_path: Path) -> None:
    """The commitments stand in the place of the content."""
    event = next(one for one in store.read("s") if one.error is not None)
    erase(store, "s", (event.event_id,), signer(), tmp_path / "e", lambda: NOW_NS)
    (event,) = (one for one in store.read("s") if one.event_id == event.event_id)
    proof = proof_of(store, event, [])
    assert problems_of(proof, [signer().public]) == []
    file = tmp_path / "proof.json"
    file.write_bytes(msgspec.json.encode(proof))
    code, said = alone(file, str(signer().public))
    assert code == 0, said
    assert "Anna" not in said


def test_what_was_changed_of_a_file_is_found(store: MemoryStore, tmp_path: Path) -> None:
    """Any part of what is shown, by both verifiers where both show it."""
    event = next(one for one in store.read("s") if one.error is not None)
    anchors = list(FileAnchor(tmp_path / "anchors").kept())
    text = msgspec.json.encode(proof_of(store, event, anchors)).decode()
    key, file, tried = signer().public, tmp_path / "proof.json", 0
    for old, new, both in (
        ('\\"type\\":\\"TimeoutError\\"', '\\"type\\":\\"Timeout\\"', True),
        ("Anna was not at home\\", "Anna was at home\\", True),
        ('"session_id":"s"', '"session_id":"t"', False),
        ('"outcome":"error"', '"outcome":"ok"', False),
        ('"code":"408"', '"code":"500"', False),
        ('"level":"ERROR"', '"level":"INFO"', False),
        ('"message":"Anna was not at home"', '"message":"Anna"', False),
        ('"outcome":"error",', "", False),
        ('\\"seal\\":1', '\\"seal\\":2', True),
        ("/sessions/s", "/sessions/t", True),
        ("\\n2\\n", "\\n4\\n", True),
        ('"format":1', '"format":1.0', False),
    ):
        assert old in text, old
        changed = text.replace(old, new)
        try:
            problems = problems_of(read_proof(changed.encode()), [key])
        except CodecError:
            problems = ["no proof"]
        if '"format"' not in old:
            assert problems, old
        if both:
            file.write_text(changed)
            assert alone(file, str(key))[0] == 5, old
        tried += 1
    assert tried == 12


def test_what_is_not_sealed_is_not_shown(store: MemoryStore) -> None:
    """An event that came late, one that was changed, a session that never was."""
    first = next(iter(store.read("s")))
    with pytest.raises(StoreError, match="came after"):
        proof_of(store, late("s", 1, 5), [])
    with pytest.raises(StoreError, match="not what was sealed"):
        proof_of(store, msgspec.structs.replace(first, name="other"), [])
    with pytest.raises(StoreError, match="is not sealed"):
        proof_of(store, late("nobody", 1, 5), [])
    for bad in (b"", b"{}", b"[" * 10_000):
        with pytest.raises(CodecError):
            read_proof(bad)
