"""Addresses of the operators' API, below /api/v1/."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from campaigns import carve_views, inventory_views, views
from campaigns.status_view import StatusView

router = SimpleRouter()
router.register("campaigns", views.CampaignViewSet)
router.register("hosts", inventory_views.HostViewSet)
router.register("labels", inventory_views.LabelViewSet)
router.register("queries", inventory_views.QueryViewSet)
router.register("enroll-secrets", inventory_views.EnrollSecretViewSet)
router.register("tokens", inventory_views.TokenViewSet)

# Files have no slash at their end.
FILES = {
    "targets.csv": "targets_csv",
    "export.csv": "export_csv",
    "export.ndjson": "export_ndjson",
    "export.json": "export_json",
}
urlpatterns = [
    *(
        path(f"campaigns/<int:pk>/{name}", views.CampaignViewSet.as_view({"get": method}), name=f"campaign-{name}")
        for name, method in FILES.items()
    ),
    path("live-queries/disable/", views.SwitchView.as_view(on=False), name="live-queries-disable"),
    path("live-queries/enable/", views.SwitchView.as_view(on=True), name="live-queries-enable"),
    path("status/", StatusView.as_view(), name="status"),
    path("schema/", inventory_views.SchemaView.as_view(), name="schema-of-tables"),
    path("campaigns/<int:pk>/carves/", carve_views.CarvesOfCampaign.as_view({"get": "list"}), name="campaign-carves"),
    path("carves/<int:pk>/file", carve_views.CarveFile.as_view({"get": "retrieve"}), name="carve-file"),
    *router.urls,
]
