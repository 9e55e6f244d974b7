"""Patches, purely: text in, what becomes of the files out. Nothing here reads, writes or asks.

`parse` (parse.py) reads a patch, `apply` (apply.py) places its hunks in a file's text, `render` (render.py) writes one.
"""
