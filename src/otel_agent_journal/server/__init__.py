"""The server: REST and server-sent events over any store, and the viewer's files. See `docs/server.md`."""
