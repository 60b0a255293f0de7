"""What the machine does while a campaign lasts: write targets, release, watch brakes, end, mend the board.

Every step takes the campaign's lock, looks again, and may run twice. Never answers a request. Uses the operators' verbs
(`campaigns.launching`) where it acts in their place; looks into `campaigns.selecting` and `campaigns.collecting`.
"""
