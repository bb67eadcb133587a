"""Check a file of `agent-journal export SESSION --proof EVENT` without agent-journal.

    python verify_seal.py PROOF.json PUBLIC_KEY_OR_FILE...

Needs Python 3.11 and `cryptography`, nothing else. Says what the file shows, and exits with 0, or with 5 where it does
not show it. A time stamp's token (`stamp`, in base64) is for: openssl ts -verify -data NOTE -in TOKEN -token_in
"""

import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Wrong(Exception):
    """What the file does not show."""


def need(condition: bool, what: str) -> None:
    if not condition:
        raise Wrong(what)


def unbase(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def read_keys(given: tuple[str, ...]) -> list[tuple[str, bytes]]:
    """NAME+HASH+BASE64, as text or a line of a file. The hash is of the name, a line end and the key."""
    keys: list[tuple[str, bytes]] = []
    for one in given:
        lines = Path(one).read_text().splitlines() if Path(one).exists() else [one]
        for line in filter(None, (line.strip() for line in lines)):
            name, key_id, data = line.split("+", 2)
            key = unbase(data)
            need(key[:1] == b"\x01" and len(key) == 33, f"{line} is no key of Ed25519")
            need(sha(name.encode(), b"\n", key)[:4].hex() == key_id, f"{line}: its hash is another key's")
            keys.append((name, key))
    return keys


def read_note(text: str, keys: list[tuple[str, bytes]]) -> tuple[str, int, bytes]:
    """A text, a blank line, signatures. The text is the origin, the number of leaves and the root, a line each."""
    body, _, signatures = text.rpartition("\n\n")
    body += "\n"
    for line in signatures.splitlines():
        dash, name, data = line.split(" ")
        raw = unbase(data)
        for key_name, key in keys:
            if dash == "\u2014" and name == key_name and raw[:4] == sha(name.encode(), b"\n", key)[:4]:
                try:
                    Ed25519PublicKey.from_public_bytes(key[1:]).verify(raw[4:], body.encode())
                except InvalidSignature:
                    raise Wrong(f"the signature of {name} is not of this text") from None
                origin, size, root = body.splitlines()[:3]
                return origin, int(size), unbase(root)
    raise Wrong("a checkpoint is not signed by a key that you gave")


def need_included(leaf: bytes, index: int, size: int, proof: list[str], root: bytes, what: str) -> None:
    """RFC 9162, 2.1.3.2."""
    need(0 <= index < size, what)
    place, last, node = index, size - 1, sha(b"\x00", leaf)
    for other in map(unbase, proof):
        need(last > 0, what)
        if place % 2 or place == last:
            node = sha(b"\x01", other, node)
            while place and not place % 2:
                place, last = place >> 1, last >> 1
        else:
            node = sha(b"\x01", node, other)
        place, last = place >> 1, last >> 1
    need(last == 0 and node == root, what)


def sealed_event(proof: Any) -> Any:
    """Return the event as its leaf and the disclosed fields have it; nothing of it is taken from elsewhere."""
    leaf = json.loads(proof["leaf"])
    shown = [(leaf["details"], name, field) for name, field in proof["fields"].items()]
    if proof["message"] is not None:
        shown.append((leaf["error"], "message", proof["message"]))
    for place, name, field in shown:
        digest = sha(bytes.fromhex(field["salt"]), field["text"].encode()).hex()
        need(place[name] == {"sha256": digest}, f"field '{name}' is not what was sealed")
        place[name] = json.loads(field["text"])
    return leaf


def main(path: str, *given: str) -> None:
    proof = json.loads(Path(path).read_bytes())
    keys = read_keys(given)
    event = sealed_event(proof)
    session = proof["session"]
    origin, size, root = read_note(session["note"], keys)
    leaf = proof["leaf"].encode()
    need_included(leaf, session["index"], size, session["proof"], root, "the event is not in the session's seal")

    record, log = json.loads(proof["record"]), proof["log"]
    same = (record["is"], record["session"], record["size"], unbase(record["root"]))
    need(same == ("sealed", event["session_id"], size, root), "the record of the log is of another seal")
    log_origin, log_size, log_root = read_note(log["note"], keys)
    need(log_origin == origin.partition("/")[0] + "/log", "the log is another store's")
    line = proof["record"].encode()
    need_included(line, log["index"], log_size, log["proof"], log_root, "the seal is not in the log")

    print(json.dumps(event, indent=2, ensure_ascii=True))
    print(f"event {session['index'] + 1} of {size} that were sealed {record['at']}, seal {record['seal']} of {origin}")
    print(f"record {log['index'] + 1} of {log_size} in {log_origin}")
    for anchor in proof.get("anchors", []):
        what = f"anchor {anchor['where']} does not have the seal"
        kept_origin, kept_size, kept_root = read_note(anchor["note"], keys)
        need(kept_origin == log_origin, what)
        need_included(line, log["index"], kept_size, anchor["proof"], kept_root, what)
        print(f"anchored at {anchor['where']}, it says {anchor.get('at')}: ask there whether it has this checkpoint")
        print("".join(f"    {text}\n" for text in anchor["note"].splitlines()), end="")
    print("kept as written: what stands above is what was sealed. A field with 'sha256' alone is not in the file.")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (Wrong, KeyError, TypeError, ValueError, OSError) as error:
        print(f"NOT SHOWN: {error}")
        sys.exit(5)
