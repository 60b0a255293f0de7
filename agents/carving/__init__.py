"""Files that hosts were asked for: announced by a row, begun, sent block by block, checked, kept, purged.

Never decides who may be asked for one, that is SQL's. Looks into `agents.protocol`, and asks by way of
`agents.inventory`.
"""
