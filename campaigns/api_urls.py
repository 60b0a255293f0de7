"""Addresses of the operators' API, below /api/v1/."""

from rest_framework.routers import SimpleRouter

from campaigns import inventory_views, views

router = SimpleRouter()
router.register("campaigns", views.CampaignViewSet)
router.register("hosts", inventory_views.HostViewSet)
router.register("labels", inventory_views.LabelViewSet)
router.register("queries", inventory_views.QueryViewSet)
router.register("enroll-secrets", inventory_views.EnrollSecretViewSet)
router.register("tokens", inventory_views.TokenViewSet)

urlpatterns = router.urls
