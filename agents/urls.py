"""Addresses of agents that Django serves; the gateway serves the others."""

from django.urls import path, re_path

from agents.carve_views import begin_carve, take_block
from agents.views import enroll_host

urlpatterns = [
    path("api/osquery/enroll", enroll_host),
    path("api/v1/osquery/enroll", enroll_host),
    re_path(r"^api/(?:v1/)?osquery/carve/begin/?$", begin_carve),
    re_path(r"^api/(?:v1/)?osquery/carve/block/?$", take_block),
]
