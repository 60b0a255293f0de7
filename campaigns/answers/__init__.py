"""What came of it: results by cursor, rows and groups, exports, carves; how long it is kept, and what stays for good.

Never changes an answer. Looks into `campaigns.collecting`, for how far the stream is stored.
"""
