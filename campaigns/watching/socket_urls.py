"""Addresses of the viewers' sockets."""

from django.urls import path, re_path

from campaigns.watching.consumers import CampaignConsumer, NoSuchSocket

websocket_urlpatterns = [
    path("ws/campaigns/<int:campaign_id>/", CampaignConsumer.as_asgi()),
    re_path("", NoSuchSocket.as_asgi()),
]
