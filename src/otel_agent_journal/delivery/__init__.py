"""From the spool to the store: a drain takes what writers left, makes events of it and appends them in batches."""
