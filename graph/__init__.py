"""Who runs when: LangGraph state machines whose nodes call agents and tools."""
