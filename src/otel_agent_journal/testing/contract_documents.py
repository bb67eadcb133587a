"""The contract of documents: small values, each replaced only by who has seen the one before."""

from __future__ import annotations

from threading import Barrier
from typing import cast

import pytest

from otel_agent_journal.errors import StoreError, UnsupportedByStore
from otel_agent_journal.store.protocol import Document, DocumentStore, JournalStore, StoreAdmin, of_session
from otel_agent_journal.testing.builders import events
from otel_agent_journal.testing.contract_setup import THREADS, ContractSetup


def _new(name: str = "pointer", data: bytes = b"1", scope: str = "sinks") -> Document:
    return Document(scope=scope, name=name, data=data)


def _over(document: Document | None, data: bytes) -> Document:
    assert document is not None
    return Document(scope=document.scope, name=document.name, data=data, version=document.version)


class DocumentContract(ContractSetup):
    """A document has one version at a time, and who has not seen it does not replace it."""

    @pytest.fixture
    def documents(self, store: JournalStore) -> DocumentStore:
        """The store under test, as one of documents."""
        if not store.capabilities.documents:
            if isinstance(store, DocumentStore):
                with pytest.raises(UnsupportedByStore):
                    store.get_document("sinks", "pointer")
            pytest.skip("the store declares no capability 'documents'")
        assert isinstance(store, DocumentStore)
        return store

    def test_document(self, documents: DocumentStore) -> None:
        """A document is read as it was written last, with the version that it has then."""
        assert documents.get_document("sinks", "pointer") is None
        one = documents.put_document(_new())
        assert one is not None
        assert one.version > 0
        two = documents.put_document(_over(one, bytes(range(256)) * 100))
        assert two is not None
        assert two.version > one.version
        assert documents.get_document("sinks", "pointer") == two
        assert documents.get_document("sinks", "other") is None
        assert documents.get_document("other", "pointer") is None

    def test_document_of_another_version(self, documents: DocumentStore) -> None:
        """Who has seen another version than the stored one writes and deletes nothing."""
        one = documents.put_document(_new())
        assert documents.put_document(_new(data=b"2")) is None
        two = documents.put_document(_over(one, b"2"))
        assert documents.put_document(_over(one, b"3")) is None
        assert one is not None
        assert not documents.delete_document("sinks", "pointer", one.version)
        assert not documents.delete_document("sinks", "pointer", 0)
        assert documents.get_document("sinks", "pointer") == two

    def test_document_deleted(self, documents: DocumentStore) -> None:
        """What was deleted is not there, and what is made anew has no version that was before."""
        one = documents.put_document(_new())
        assert one is not None
        assert documents.delete_document("sinks", "pointer", one.version)
        assert not documents.delete_document("sinks", "pointer", one.version)
        assert documents.get_document("sinks", "pointer") is None
        assert list(documents.documents("sinks")) == []
        assert documents.put_document(_over(one, b"2")) is None
        again = documents.put_document(_new(data=b"2"))
        assert again is not None
        assert again.version > one.version
        assert documents.get_document("sinks", "pointer") == again

    def test_documents_of_a_scope(self, documents: DocumentStore) -> None:
        """A scope gives its documents in order of their names, whatever these are."""
        names = ["", "a", "a/b", "é", ".", "..", "~", "long" * 300, "\N{PILE OF POO}"]
        many = [f"n{number:02}" for number in range(60)]
        for scope in ("sinks", "a/../b", of_session("s/1 é"), of_session("")):
            wanted = names + many if scope == "sinks" else names
            written = [documents.put_document(_new(name, name.encode(), scope)) for name in wanted]
            assert None not in written
            found = list(documents.documents(scope))
            assert [one.name for one in found] == sorted(wanted)
            assert {one.name: one for one in found} == {one.name: one for one in written if one is not None}
        assert list(documents.documents("sink")) == []

    def test_document_too_large(self, documents: DocumentStore) -> None:
        """A document over the limit is refused, and one below it kept."""
        limit = cast("JournalStore", documents).capabilities.max_document_bytes
        if limit is None:
            assert documents.put_document(_new(data=b"x" * 1_000_000)) is not None
            return
        with pytest.raises(StoreError):
            documents.put_document(_new(data=b"x" * (limit + 1)))
        assert documents.get_document("sinks", "pointer") is None
        assert documents.put_document(_new(data=b"x" * limit)) is not None

    def test_documents_go_with_their_session(self, store: JournalStore, documents: DocumentStore) -> None:
        """Deleting a session deletes its documents, and no others."""
        if not store.capabilities.prune:
            pytest.skip("the store declares no capability 'prune'")
        assert isinstance(store, StoreAdmin)
        for session_id in ("s1", "s12"):
            store.append(events(3, session_id=session_id))
            assert documents.put_document(_new(scope=of_session(session_id))) is not None
        kept = documents.put_document(_new())
        assert store.delete_session("s1", store.tip("s1"), 0)
        assert list(documents.documents(of_session("s1"))) == []
        assert len(list(documents.documents(of_session("s12")))) == 1
        assert documents.get_document("sinks", "pointer") == kept

    def test_a_document_is_no_event(self, store: JournalStore, documents: DocumentStore) -> None:
        """A document makes no session, and moves none."""
        assert documents.put_document(_new(scope=of_session("s1"))) is not None
        assert list(store.read("s1")) == []
        assert store.tip("s1") is None
        store.append(events(3))
        tip = store.tip("s1")
        assert documents.put_document(_new("another", scope=of_session("s1"))) is not None
        assert list(store.read("s1")) == events(3)
        assert store.tip("s1") == tip

    def test_one_winner_a_version(self, store: JournalStore, documents: DocumentStore) -> None:
        """Of eight writers over one version one wins, and all that was written was seen by who wrote next."""
        together = Barrier(THREADS)

        def count(client: JournalStore, number: int) -> int:
            assert isinstance(client, DocumentStore)
            won = 0
            for _ in range(10):
                together.wait(30)
                seen = client.get_document("sinks", "count") or _new("count", b"0")
                won += client.put_document(_over(seen, b"%d" % (int(seen.data) + 1))) is not None
            return won

        won = self.in_threads(store, count)
        last = documents.get_document("sinks", "count")
        assert last is not None
        assert int(last.data) == sum(won) >= 10
