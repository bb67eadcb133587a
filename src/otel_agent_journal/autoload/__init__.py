"""The folder that `agent-journal run` puts on a program's PYTHONPATH. It holds a `sitecustomize` and nothing else."""
