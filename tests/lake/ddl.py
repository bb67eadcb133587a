"""What engines of others have to be told of a lake's tables: the statements of docs/lakes_ddl.md, made of the schema.

python tests/lake/ddl.py    prints the page's blocks
"""

from __future__ import annotations

import textwrap

from otel_agent_journal.lake.schema import TABLES
from otel_agent_journal.query.tables import INT, JSON, REAL, TEXT, TEXTS, TIME

ATHENA = {
    TEXT: "string",
    JSON: "string",
    INT: "bigint",
    REAL: "double",
    TIME: "timestamp",
    TEXTS: "array<string>",
}
TRINO = {TEXT: "varchar", JSON: "varchar", INT: "bigint", REAL: "double", TIME: "timestamp(6)", TEXTS: "array(varchar)"}


def _columns(table: str, types: dict[str, str], quote: str) -> str:
    said = [f"{quote}{one.name}{quote}\N{NO-BREAK SPACE}{types[one.kind]}" for one in TABLES[table].columns]
    filled = textwrap.fill(", ".join(said), 118, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    return filled.replace("\N{NO-BREAK SPACE}", " ")


def athena(table: str) -> str:
    """Return the statement that tells Athena of a table, its days by partition projection."""
    place = f"s3://bucket/lake/{table}/v=1/"
    return f"""CREATE EXTERNAL TABLE {table} (
{_columns(table, ATHENA, "`")})
PARTITIONED BY (dt string)
STORED AS PARQUET
LOCATION '{place}'
TBLPROPERTIES (
  'projection.enabled' = 'true', 'projection.dt.type' = 'date', 'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2026-01-01,NOW', 'projection.dt.interval' = '1', 'projection.dt.interval.unit' = 'DAYS',
  'storage.location.template' = '{place}dt=${{dt}}/');
"""


def trino(table: str) -> str:
    """Return the statements that tell Trino's Hive connector of a table, and of the days that are there."""
    return f"""CREATE TABLE hive.journal.{table} (
{_columns(table, TRINO, '"')},
  dt varchar)
WITH (format = 'PARQUET', external_location = 's3://bucket/lake/{table}/v=1/', partitioned_by = ARRAY['dt']);
CALL hive.system.sync_partition_metadata('journal', '{table}', 'FULL');
"""


if __name__ == "__main__":
    for title, made in (("Athena", athena), ("Trino", trino)):
        print(f"## {title}\n")
        print("\n".join(f"```\n{made(one)}```\n" for one in TABLES))
