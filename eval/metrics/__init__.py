"""Metrics of recordings, one family a file.

`registry` names them, `loading` is the base of those with networks, `lag` and `mel` serve several.
"""
