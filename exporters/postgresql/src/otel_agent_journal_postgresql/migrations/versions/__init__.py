"""One module a version of the tables, never changed once it was released."""
