"""The checkpointer: a LangGraph thread as the numbered events of an agent instance, by LangGraph's own interface."""
