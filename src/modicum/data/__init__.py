"""Folders, tables, zips and benchmark sets of pictures: listing, checking, decoding once, class splits."""
