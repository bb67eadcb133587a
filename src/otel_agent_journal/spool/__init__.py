"""The local write-ahead log that every session event passes through, and its delivery to the store."""
