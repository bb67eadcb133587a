"""The journal in postgresql: `open_store` is what the URL scheme names."""
