"""Every address that Django serves: agents' enrollment, the API, the console, the admin."""

from django.contrib import admin
from django.urls import include, path

from campaigns.console.access import Login, Logout
from campaigns.console.password_page import password
from fleet import openid
from fleet.api.documents import DocsPage, OpenApiDocument
from fleet.readiness import livez, readyz

handler400 = "fleet.refusals.bad_request"
handler403 = "fleet.refusals.forbidden"
handler404 = "fleet.refusals.not_found"
handler500 = "fleet.refusals.server_error"

admin.autodiscover()
urlpatterns = [
    path("", include("agents.urls")),
    path("api/v1/", include("campaigns.api.urls")),
    path("api/schema/", OpenApiDocument.as_view(), name="schema"),
    path("api/docs/", DocsPage.as_view(url_name="schema"), name="docs"),
    path("livez", livez, name="livez"),
    path("readyz", readyz, name="readyz"),
    path("admin/login/", Login.as_view(leads_to="admin:index"), name="admin-login"),  # no door but ours
    path("admin/logout/", Logout.as_view(), name="admin-logout"),
    path("admin/password_change/", password, name="admin-password"),  # where guesses are counted
    path("admin/", admin.site.urls),
    path("login/openid/", openid.begin, name="openid"),
    path("login/openid/callback/", openid.come_back, name="openid-callback"),
    path("", include("campaigns.console.urls")),
]
