"""The hot path: the raw ASGI app that agents talk to, with held reads, bodies within bounds, and logs.

Never imports Django, Celery, Channels or a model; what needs them goes through `django_bridge`. Looks into
`agents.board` and `agents.protocol`.
"""
