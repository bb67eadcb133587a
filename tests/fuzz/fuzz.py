"""Fuzzes the decoders for so many seconds: `python -m tests.fuzz.fuzz SECONDS FOLDER [--blind]`.

With atheris where there is one, which sees what an input reaches; `--blind`, and elsewhere, by changes alone. Ends with
0, and says how many inputs it tried; else the input that was too much is a file in the folder.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from pathlib import Path

try:
    import atheris
except ImportError:  # it has wheels for one platform alone
    atheris = None

SEED = 20261121
ONE_S = 10  # for an input
LARGEST = 64 * 1024


def blind(seconds: float, folder: Path) -> int:
    """Fuzz without knowing what an input reaches; return how many were tried."""
    from tests.fuzz.decoders import decode
    from tests.fuzz.inputs import seeds

    chance, pool = random.Random(SEED), seeds()
    first, until, tried = len(pool), time.monotonic() + seconds, 0
    while time.monotonic() < until:
        data = chance.choice(pool)
        for _ in range(chance.randint(1, 4)):
            data = mutated(data, chance)
        (folder / "last").write_bytes(data)
        signal.alarm(ONE_S)
        decode(data)
        signal.alarm(0)
        tried += 1
        if len(data) < LARGEST and chance.random() < 0.05:  # changes add up
            pool[first:] = [*pool[first:], data][-500:]
    return tried


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return an input that is another."""
    from tests.fuzz.inputs import KINDS, changed

    if data[0] % KINDS < 4 and chance.random() < 0.6:
        found = changed(data, chance.getrandbits(32))
        if found is not None:
            return found
    at, size = chance.randrange(len(data) + 1), chance.choice((1, 1, 2, 4, 16))
    put = chance.choice((chance.randbytes(size), b"", data[at : at + size * 4] * 2, bytes(size)))
    return (data[:at] + put + data[at + chance.choice((0, size)) :])[:LARGEST] or b"\0"


def watching(seconds: int, folder: Path) -> None:
    """Fuzz with atheris, which ends the process."""
    with atheris.instrument_imports(include=["otel_agent_journal"]):
        from tests.fuzz.decoders import decode
    from tests.fuzz.inputs import KINDS, changed, seeds

    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        if data and data[0] % KINDS < 4 and seed % 2:
            found = changed(data, seed)
            if found is not None and len(found) <= max_size:
                return found
        return atheris.Mutate(data, max_size)

    settings = {
        "max_total_time": seconds,
        "timeout": ONE_S,
        "seed": SEED,
        "max_len": LARGEST,
        "rss_limit_mb": 2048,
        "artifact_prefix": f"{folder}/",
        "print_final_stats": 1,
        "verbosity": 0,
    }
    atheris.Setup(
        [sys.argv[0], *(f"-{name}={value}" for name, value in settings.items()), str(corpus)],
        decode,
        custom_mutator=mutate,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    seconds, folder = int(sys.argv[1]), Path(sys.argv[2])
    if atheris is None or "--blind" in sys.argv:
        print(f"tried {blind(seconds, folder)} inputs in {seconds} s, blind")
    else:
        watching(seconds, folder)
