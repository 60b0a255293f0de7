"""Who may do what (`roles`), and of which hosts (`scopes`): the one place that decides each; everything else asks it.

Never looks at a campaign, a request or a page. Looks into Django's permissions and `agents.models`.
"""
