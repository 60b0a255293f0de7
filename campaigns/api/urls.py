"""Addresses of the operators' API, below /api/v1/."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from campaigns.api import (
    approval_rules,
    approvals,
    audit,
    campaigns,
    carves,
    hooks,
    inventory,
    quotas,
    schedules,
    status,
    tokens,
)
from campaigns.api.status import StatusView

router = SimpleRouter()
router.register("campaigns", campaigns.CampaignViewSet)
router.register("approvals", approvals.ApprovalViewSet)
router.register("approval-rules", approval_rules.ApprovalRuleViewSet)
router.register("quotas", quotas.QuotaViewSet)
router.register("hosts", inventory.HostViewSet)
router.register("labels", inventory.LabelViewSet)
router.register("queries", inventory.QueryViewSet)
router.register("enroll-secrets", inventory.EnrollSecretViewSet)
router.register("hooks", hooks.HookViewSet)
router.register("schedules", schedules.ScheduleViewSet)
router.register("tokens", tokens.TokenViewSet)

# Files have no slash at their end.
FILES = {
    "targets.csv": "targets_csv",
    "export.csv": "export_csv",
    "export.ndjson": "export_ndjson",
    "export.json": "export_json",
    "export.parquet": "export_parquet",
    "export.xlsx": "export_xlsx",
    "diff.csv": "diff_csv",
    "diff.ndjson": "diff_ndjson",
    "diff.json": "diff_json",
    "diff.parquet": "diff_parquet",
    "diff.xlsx": "diff_xlsx",
}
urlpatterns = [
    *(
        path(f"campaigns/<int:pk>/{name}", campaigns.CampaignViewSet.as_view({"get": method}), name=f"campaign-{name}")
        for name, method in FILES.items()
    ),
    path("live-queries/disable/", status.SwitchView.as_view(on=False), name="live-queries-disable"),
    path("live-queries/enable/", status.SwitchView.as_view(on=True), name="live-queries-enable"),
    path("audit/", audit.AuditView.as_view(), name="audit-lines"),
    path("audit.ndjson", audit.AuditFile.as_view(), name="audit-file"),
    path("status/", StatusView.as_view(), name="status"),
    path("schema/learn/", inventory.LearnView.as_view(), name="schema-learn"),
    path("schema/", inventory.SchemaView.as_view(), name="schema-of-tables"),
    path("campaigns/<int:pk>/carves/", carves.CarvesOfCampaign.as_view({"get": "list"}), name="campaign-carves"),
    path("carves/", carves.Carves.as_view({"get": "list"}), name="carves"),
    path("carves/<int:pk>/file", carves.CarveFile.as_view({"get": "retrieve"}), name="carve-file"),
    *router.urls,
]
