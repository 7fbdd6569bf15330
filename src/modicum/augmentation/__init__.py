"""Augmentation of pictures, batched over tasks, with explicit draws."""
