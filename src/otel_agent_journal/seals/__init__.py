"""Sealed sessions: signed commitments to what a journal has, by which a later change is found. See docs/seals.md."""
