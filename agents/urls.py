"""Addresses of agents that Django serves, in the form that the gateway gives them; it serves the others."""

from django.urls import path

from agents.carving.views import begin_carve, take_block
from agents.enrolling.views import enroll_host

urlpatterns = [
    path("api/osquery/enroll", enroll_host),
    path("api/osquery/carve/begin", begin_carve),
    path("api/osquery/carve/block", take_block),
]
