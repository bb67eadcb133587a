"""A recorded session that code is run against: what it answered, and which step went another way.

`recording` has the session, `matching` finds the recorded attempt of a step that begins, `replaying` is what the
process asks while it runs, `report` says afterwards what became of it. Knows no framework: how an answer becomes a
framework's own objects is the framework's folder's business.
"""
