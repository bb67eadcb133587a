"""The journal to streams: each sink is sent every event of a store, in order, by a cursor of its own.

`port` is what a sink implements, `registry` opens one by its URL, `records` makes records of events, `transfer` brings
them there, `places` keeps cursor and turn in the store, `shipper` is the thread that does it, `lag` says how far each
is. What a sink is sent is what the store has: nothing here sees a spool, or an agent.
"""
