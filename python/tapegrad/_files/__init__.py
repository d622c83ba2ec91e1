"""How values become files: nested structures, the safetensors format, writing whole or not at all."""
