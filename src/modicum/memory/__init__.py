"""An external memory of embedded pictures that can be edited: durable, searched exactly or approximately."""
