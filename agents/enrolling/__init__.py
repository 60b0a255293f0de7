"""How machines come and go: enrollment, secrets, revocation, the flagfile and the config that they are served.

Never hands out work. Looks into `agents.inventory`, `agents.board` and `agents.protocol`.
"""
