"""Addresses of the console."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from campaigns import ask_pages, page_access, pages

urlpatterns = [
    path("login/", page_access.Login.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("", ask_pages.ask, name="ask"),
    path("ask/estimate/", ask_pages.estimate, name="ask-estimate"),
    path("ask/hosts/", ask_pages.find_hosts, name="ask-hosts"),
    path("troubles/", pages.troubles, name="troubles"),
    path("campaigns/", pages.campaigns, name="campaigns"),
    path("campaigns/<int:campaign_id>/", pages.campaign, name="campaign"),
    path("campaigns/<int:campaign_id>/hosts/", pages.campaign_hosts, name="hosts-of-campaign"),
    path("campaigns/<int:campaign_id>/errors/", pages.campaign_errors, name="errors-of-campaign"),
    path("campaigns/<int:campaign_id>/groups/", pages.campaign_groups, name="groups-of-campaign"),
    path("campaigns/<int:campaign_id>/groups/<str:key>/", pages.group_hosts, name="hosts-of-group"),
    path("campaigns/<int:campaign_id>/rerun/", pages.rerun, name="rerun-campaign"),
    path("campaigns/<int:campaign_id>/control/", pages.control, name="control-campaign"),
    path("campaigns/<int:campaign_id>/pause/", pages.pause, name="pause-campaign"),
    path("campaigns/<int:campaign_id>/resume/", pages.resume, name="resume-campaign"),
    path("campaigns/<int:campaign_id>/widen/", pages.widen, name="widen-campaign"),
    path("campaigns/<int:campaign_id>/stop/", pages.stop, name="stop-campaign"),
]
