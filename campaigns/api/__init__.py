"""The door for programs, below /api/v1/: parse, permit, call one verb, answer.

Never decides about campaigns. Looks into every room of the life, and into `campaigns.watching` to wait for an end.
"""
