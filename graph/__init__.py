"""The graphs: LangGraph state machines whose nodes call agents and tools."""
