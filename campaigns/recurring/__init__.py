"""Questions that ask themselves: saved queries that run every so often, each run an ordinary campaign of their owner.

A schedule is a row with the time of its next run; a step each second launches what is due by the operators' own verbs,
and compares what ended with the run before. Never runs what its owner could not launch himself. Looks into
`campaigns.launching`, `campaigns.analysis`, `campaigns.answers` and `campaigns.hooks`.
"""
