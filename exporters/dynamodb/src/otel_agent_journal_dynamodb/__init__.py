"""The journal in DynamoDB: `open_store` is what the URL scheme `dynamodb` names."""

from otel_agent_journal_dynamodb.store import DynamoDBStore, open_store

__all__ = ["DynamoDBStore", "open_store"]
