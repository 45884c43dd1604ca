"""``gainrl-report``: from run directories to a page with curves, tables, paired differences and their verdicts.

Reads what runs wrote; imports neither torch nor Lightning, and needs no GPU.
"""
