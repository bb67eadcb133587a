"""Reads a lake with Spark as its users do, and prints what it found as JSON. Runs in Spark's own environment."""

from __future__ import annotations

import json
import sys

from pyspark.sql import SparkSession  # of that environment

TABLES = ("events", "steps", "sessions", "model_calls", "tool_calls")
QUESTIONS = {
    "by_day": "SELECT string(dt) AS day, count(*) FROM events GROUP BY dt ORDER BY day",
    "by_type": "SELECT event_type, count(*) FROM events GROUP BY event_type ORDER BY event_type",
    "statuses": "SELECT status, count(*) FROM sessions GROUP BY status ORDER BY status",
    "tokens": "SELECT name, sum(input_tokens) FROM model_calls GROUP BY name ORDER BY name",
    "failed": "SELECT name, error_type, count(*) FROM tool_calls WHERE status = 'error' GROUP BY ALL ORDER BY ALL",
    "inputs": "SELECT get_json_object(input, '$.query') AS q FROM tool_calls WHERE input IS NOT NULL ORDER BY q",
    "times": "SELECT count(*) FROM events WHERE unix_micros(timestamp) = timestamp_ns DIV 1000",
    "first": "SELECT min(unix_micros(timestamp)) FROM events",
    "joined": "SELECT count(*) FROM sessions s JOIN steps USING (session_id) WHERE s.agent IS NOT NULL",
    "tags": "SELECT count(*) FROM sessions WHERE size(writers) > 0",
}


def main(lake: str) -> None:
    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.sql.warehouse.dir", f"{lake}/../warehouse")
        .getOrCreate()
    )
    found: dict[str, object] = {"version": spark.version, "types": {}}
    for name in TABLES:
        frame = spark.read.parquet(f"{lake}/{name}")
        frame.createOrReplaceTempView(name)
        found["types"][name] = {one.name: one.dataType.simpleString() for one in frame.schema}  # type: ignore[index]
        found[name] = frame.count()
    for name, sql in QUESTIONS.items():
        found[name] = [list(row) for row in spark.sql(sql).collect()]
    spark.stop()
    print(json.dumps(found))


main(sys.argv[1])
