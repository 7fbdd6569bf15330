"""Tasks: their types, the interfaces of what adapts to them, and samplers over label arrays."""
