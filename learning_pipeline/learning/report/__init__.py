"""The report: what was learned and how far everything is, at a glance.

`gathering` finds out the facts, `charts` draws them; who shows them is above.
"""
