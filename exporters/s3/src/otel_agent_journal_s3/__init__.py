"""The journal in s3: `open_store` is what the URL scheme names."""
