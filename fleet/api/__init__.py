"""What the API's views in every app share: how it is asked, pages of lists, and the document that describes it.

Decides nothing of hosts or campaigns, and imports the ground alone.
"""
