"""The LLM lane, a process of its own: escalations in from Kafka, a queue in Postgres, verdicts out to Kafka."""
