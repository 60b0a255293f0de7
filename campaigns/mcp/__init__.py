"""The door for language models, at /mcp: the Model Context Protocol, by its SDK, over streamable HTTP without state.

Never decides about campaigns: tools take the shapes of the API and call what its views call, as the person that the
token narrows, so that roles, scopes, quotas and approvals hold here as there. What is the door's own: a token launches
only where it was made to, over many hosts never without some that go first, and every call is in the audit. Looks into
`campaigns.api` for its shapes, `campaigns.watching` to wait, and every room of the life.
"""
