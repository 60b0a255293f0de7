"""Addresses of the console."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from campaigns.console import access, ask_pages, campaign_pages

urlpatterns = [
    path("login/", access.Login.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("", ask_pages.ask, name="ask"),
    path("ask/estimate/", ask_pages.estimate, name="ask-estimate"),
    path("ask/hosts/", ask_pages.find_hosts, name="ask-hosts"),
    path("troubles/", campaign_pages.troubles, name="troubles"),
    path("campaigns/", campaign_pages.campaigns, name="campaigns"),
    path("campaigns/<int:campaign_id>/", campaign_pages.campaign, name="campaign"),
    path("campaigns/<int:campaign_id>/hosts/", campaign_pages.campaign_hosts, name="hosts-of-campaign"),
    path("campaigns/<int:campaign_id>/errors/", campaign_pages.campaign_errors, name="errors-of-campaign"),
    path("campaigns/<int:campaign_id>/groups/", campaign_pages.campaign_groups, name="groups-of-campaign"),
    path("campaigns/<int:campaign_id>/groups/<str:key>/", campaign_pages.group_hosts, name="hosts-of-group"),
    path("campaigns/<int:campaign_id>/rerun/", campaign_pages.rerun, name="rerun-campaign"),
    path("campaigns/<int:campaign_id>/control/", campaign_pages.control, name="control-campaign"),
    path("campaigns/<int:campaign_id>/pause/", campaign_pages.pause, name="pause-campaign"),
    path("campaigns/<int:campaign_id>/resume/", campaign_pages.resume, name="resume-campaign"),
    path("campaigns/<int:campaign_id>/widen/", campaign_pages.widen, name="widen-campaign"),
    path("campaigns/<int:campaign_id>/stop/", campaign_pages.stop, name="stop-campaign"),
]
