"""A lake: the journal as Parquet files that any engine reads, written of a store and asked in SQL. An extra."""
