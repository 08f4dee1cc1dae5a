"""Metrics of recordings, one family a file.

`registry` names them, `readiness` tells which can run here, `loading` is the base of those with
networks, `lag` and `mel` serve several.
"""
