"""What a compiled function has captured, as text and as a graph."""
