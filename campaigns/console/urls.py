"""Addresses of the console."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from campaigns.console import (
    access,
    ask_pages,
    campaign_pages,
    control_pages,
    history_pages,
    home_pages,
    host_console,
    host_pages,
    preferences,
    settings_pages,
    trouble_pages,
)

urlpatterns = [
    path("login/", access.Login.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("", home_pages.home, name="home"),
    path("preferences/", preferences.prefer, name="prefer"),
    path("ask/", ask_pages.ask, name="ask"),
    path("ask/example/<int:number>/", home_pages.ask_example, name="ask-example"),
    path("ask/estimate/", ask_pages.estimate, name="ask-estimate"),
    path("ask/hosts/", ask_pages.find_hosts, name="ask-hosts"),
    path("hosts/", host_pages.hosts, name="hosts"),
    path("hosts/<int:host_id>/", host_pages.host, name="host"),
    path("hosts/<int:host_id>/ask/", host_console.ask, name="ask-host"),
    path("hosts/<int:host_id>/ask/<int:campaign_id>/", host_console.answer, name="answer-of-host"),
    path("hosts/<int:host_id>/revoke/", host_pages.revoke_host, name="revoke-host"),
    path("hosts/<int:host_id>/trust/", host_pages.trust, name="trust-host"),
    path("settings/", settings_pages.settings, name="settings"),
    path("settings/secrets/", settings_pages.new_secret, name="new-secret"),
    path("settings/secrets/<int:secret_id>/revoke/", settings_pages.revoke_secret, name="revoke-secret"),
    path("settings/config/", settings_pages.keep_config, name="keep-config"),
    path("settings/live-queries/", settings_pages.switch, name="switch"),
    path("troubles/", trouble_pages.troubles, name="troubles"),
    path("switch/", trouble_pages.switch, name="switch"),
    path("campaigns/", history_pages.campaigns, name="campaigns"),
    path("campaigns/<int:campaign_id>/", campaign_pages.campaign, name="campaign"),
    path("campaigns/<int:campaign_id>/hosts/", campaign_pages.campaign_hosts, name="hosts-of-campaign"),
    path("campaigns/<int:campaign_id>/errors/", campaign_pages.campaign_errors, name="errors-of-campaign"),
    path("campaigns/<int:campaign_id>/groups/", campaign_pages.campaign_groups, name="groups-of-campaign"),
    path("campaigns/<int:campaign_id>/groups/<str:key>/", campaign_pages.group_hosts, name="hosts-of-group"),
    path("campaigns/<int:campaign_id>/rerun/", control_pages.rerun, name="rerun-campaign"),
    path("campaigns/<int:campaign_id>/control/", control_pages.control_panel, name="control-campaign"),
    path("campaigns/<int:campaign_id>/pause/", control_pages.pause, name="pause-campaign"),
    path("campaigns/<int:campaign_id>/resume/", control_pages.resume, name="resume-campaign"),
    path("campaigns/<int:campaign_id>/widen/", control_pages.widen, name="widen-campaign"),
    path("campaigns/<int:campaign_id>/stop/", control_pages.stop, name="stop-campaign"),
]
