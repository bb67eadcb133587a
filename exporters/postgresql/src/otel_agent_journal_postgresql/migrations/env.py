"""Runs the migrations on the connection, and in the transaction, that `preparing` hands over."""

from alembic import context

from otel_agent_journal_postgresql.tables import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
context.run_migrations()
