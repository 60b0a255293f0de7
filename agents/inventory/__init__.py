"""What is known of hosts: facts, labels, presence, the tables of their osquery, and the housekeeping that asks for it.

Never talks to agents itself: questions go onto the board, answers come with the stream. Looks into `agents.board` and
`agents.protocol`.
"""
