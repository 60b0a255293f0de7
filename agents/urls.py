"""Addresses of agents that Django serves; the gateway serves the others."""

from django.urls import path

from agents.views import enroll_host

urlpatterns = [
    path("api/osquery/enroll", enroll_host),
    path("api/v1/osquery/enroll", enroll_host),
]
