"""What operators do: launch, estimate, pause, resume, widen, stop, rerun, the kill switch; and who may how much.

Each is one verb in one transaction; what takes longer is left to `campaigns.running` by the name of a task. Looks into
`campaigns.selecting` and `campaigns.answers`.
"""
