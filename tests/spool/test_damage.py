"""What a reader makes of a log that is torn or damaged: every whole record but the damaged one is still read."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_agent_journal.spool.folder import SpoolFolder
from otel_agent_journal.spool.frames import ACKNOWLEDGED_AT, HEADER_BYTES, frame_of, next_frame, salt_of
from otel_agent_journal.spool.home import segment_name
from tests.spool.spooling import everything, new_writer

RECORDS = [b"first", b"second" * 20, b"third" * 7, b"fourth" * 40]


def dead_log(root: Path, records=RECORDS) -> Path:
    """The folder of a writer that died: lock free, not closed, its segment still preallocated."""
    writer = new_writer(root)
    for record in records:
        assert writer.append(record)
    writer._segments.drop()
    return writer.folder


def segment_of(folder: Path) -> Path:
    return folder / segment_name(1)


def test_a_tail_torn_at_any_byte_costs_the_last_record_alone(tmp_path):
    """A writer killed while it copied its last record leaves all others readable, at whichever byte it was."""
    folder = dead_log(tmp_path)
    data = segment_of(folder).read_bytes()
    salt = salt_of(folder.name)
    start = HEADER_BYTES + sum(len(frame_of(record, salt)) for record in RECORDS[:-1])
    end = start + len(frame_of(RECORDS[-1], salt))
    for torn in range(start, end):
        segment_of(folder).write_bytes(data[:torn] + bytes(len(data) - torn))
        assert everything(folder) == RECORDS[:-1], torn
    for short in range(start, end):
        segment_of(folder).write_bytes(data[:short])
        assert everything(folder) == RECORDS[:-1], short
    segment_of(folder).write_bytes(data[:end])
    assert everything(folder) == RECORDS


def test_a_damaged_byte_anywhere_costs_one_record(tmp_path):
    """Any byte of a frame may be wrong: all other records are read, and the damage is counted once."""
    folder = dead_log(tmp_path)
    data = segment_of(folder).read_bytes()
    salt, at = salt_of(folder.name), HEADER_BYTES
    for number, record in enumerate(RECORDS):
        end = at + len(frame_of(record, salt))
        for place in range(at, end):
            segment_of(folder).write_bytes(data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :])
            reader = SpoolFolder(folder)
            found = [payload for _, payload in reader.read()]
            while more := reader.read():
                found += [payload for _, payload in more]
            assert found == RECORDS[:number] + RECORDS[number + 1 :], (number, place - at)
            assert reader.corrupt == 1
            assert reader.drained
            reader.close()
        at = end


def test_a_damaged_header_page_costs_nothing(tmp_path):
    """The header page may be lost: the records are read, from the start."""
    folder = dead_log(tmp_path)
    data = segment_of(folder).read_bytes()
    for page in (bytes(HEADER_BYTES), b"\xff" * HEADER_BYTES, random.Random(1).randbytes(HEADER_BYTES)):
        segment_of(folder).write_bytes(page + data[HEADER_BYTES:])
        assert everything(folder) == RECORDS


def test_a_damaged_acknowledgement_means_reading_again(tmp_path):
    """Where it is not known how far a log was delivered, all of it is delivered again."""
    folder = dead_log(tmp_path)
    reader = SpoolFolder(folder)
    reader.acknowledge(reader.read()[1][0])
    reader.close()
    assert everything(folder) == RECORDS[2:]
    data = bytearray(segment_of(folder).read_bytes())
    data[ACKNOWLEDGED_AT] ^= 1
    segment_of(folder).write_bytes(data)
    assert everything(folder) == RECORDS


def test_a_whole_segment_of_garbage_costs_itself_alone(tmp_path):
    """A segment overwritten with noise is skipped, the ones beside it are read."""
    records = [b"%04d" % number * 100 for number in range(600)]
    writer = new_writer(tmp_path, segment_bytes=64 * 1024)
    for record in records:
        writer.append(record)
    writer.close()
    second = sorted(writer.folder.glob("*.seg"))[1]
    second.write_bytes(random.Random(2).randbytes(second.stat().st_size))
    found = everything(writer.folder)
    assert 0 < len(records) - len(found) < 200
    assert found == [record for record in records if record in set(found)]


def test_an_empty_or_cut_segment_file_is_survived(tmp_path):
    """A segment file of no bytes, or less than a header, is an empty one."""
    for size in (0, 10, HEADER_BYTES):
        folder = dead_log(tmp_path)
        data = segment_of(folder).read_bytes()
        segment_of(folder).write_bytes(data[:size])
        reader = SpoolFolder(folder)
        assert reader.read() == []
        assert reader.finished


def test_damage_in_a_live_log_does_not_wait_for_the_writer_to_end(tmp_path):
    """What is damaged while the writer lives is skipped as soon as a good record follows."""
    writer = new_writer(tmp_path)
    for record in RECORDS:
        writer.append(record)
    with segment_of(writer.folder).open("r+b") as segment:
        segment.seek(HEADER_BYTES + 14)
        segment.write(b"\0\0")
    reader = SpoolFolder(writer.folder)
    assert [payload for _, payload in reader.read()] == RECORDS[1:]
    assert reader.corrupt == 1
    writer.append(b"fifth")
    assert [payload for _, payload in reader.read()] == [b"fifth"]


def test_a_half_written_tail_of_a_live_writer_is_waited_for(tmp_path):
    """A frame that is still being copied is not taken for damage, and is read once it is whole."""
    writer = new_writer(tmp_path)
    writer.append(b"first")
    reader = SpoolFolder(writer.folder)
    (record,) = reader.read()
    frame = frame_of(b"second", salt_of(writer.writer))
    with segment_of(writer.folder).open("r+b", buffering=0) as segment:
        segment.seek(record[0].offset)
        segment.write(frame[:15])
        assert reader.read() == []
        time.sleep(1.1)  # long enough for a search
        assert reader.read() == []
        segment.write(frame[15:])
    assert [payload for _, payload in reader.read()] == [b"second"]
    assert reader.corrupt == 0


def test_a_frame_within_a_record_is_no_frame(tmp_path):
    """An agent that journals the bytes of another spool does not bring that spool's records back to life."""
    other = frame_of(b"not mine", salt_of("0" * 32))
    folder = dead_log(tmp_path, [b"before", other * 3, b"after"])
    data = bytearray(segment_of(folder).read_bytes())
    data[data.index(other) - 5] ^= 1  # the outer frame's header
    segment_of(folder).write_bytes(data)
    assert everything(folder) == [b"before", b"after"]


def test_a_frame_may_promise_more_than_there_is(tmp_path):
    """A damaged length, however large, is damage like any other."""
    folder = dead_log(tmp_path)
    data = bytearray(segment_of(folder).read_bytes())
    data[HEADER_BYTES + 4 : HEADER_BYTES + 8] = b"\xff\xff\xff\xff"
    segment_of(folder).write_bytes(data)
    assert everything(folder) == RECORDS[1:]


@settings(max_examples=200, deadline=None)
@given(
    before=st.binary(max_size=200),
    payload=st.binary(max_size=200),
    after=st.binary(max_size=100),
    salt=st.integers(0, 9),
)
def test_a_frame_is_found_behind_any_noise(before, payload, after, salt):
    """Whatever bytes stand before a frame, it is found, whole."""
    frame = frame_of(payload, salt)
    found = next_frame(before + frame + after, 0, salt)
    assert found is not None
    assert found.start <= len(before)
    if found.start == len(before):
        assert found.payload == payload


@pytest.mark.parametrize("seed", range(20))
def test_random_damage_never_raises_and_never_invents(tmp_path, seed):
    """However a log is damaged, reading ends, and gives only records that were appended, each once, in order."""
    chance = random.Random(seed)
    records = [chance.randbytes(chance.randrange(400)) + b"%d" % number for number in range(300)]
    folder = dead_log(tmp_path, records)
    data = bytearray(segment_of(folder).read_bytes())
    for _ in range(chance.randrange(1, 40)):
        start = chance.randrange(len(data) // 8)
        data[start : start + chance.randrange(1, 300)] = chance.randbytes(chance.randrange(1, 300))
    segment_of(folder).write_bytes(data)
    found = everything(folder)
    places = [records.index(record) for record in found]
    assert places == sorted(set(places))
