"""The journal in dynamodb: `open_store` is what the URL scheme names."""
