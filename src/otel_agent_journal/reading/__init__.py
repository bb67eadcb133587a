"""What every reader of a journal stands on: sessions found, read whole, followed, copied and compared."""
