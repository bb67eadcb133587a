"""What the stores on AWS stand on: a URL's options, a service and its clients, what goes wrong."""

from otel_agent_journal_aws.failures import Refusal
from otel_agent_journal_aws.place import Options, Place
from otel_agent_journal_aws.service import Service

__all__ = ["Options", "Place", "Refusal", "Service"]
