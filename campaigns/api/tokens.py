"""The API of its own tokens."""

from typing import Any, ClassVar, cast

from django.contrib.auth.models import User
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, status
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from campaigns.api.people_filters import person_in
from campaigns.api.secret_serializers import ShownTokenSerializer, TokenSerializer
from campaigns.tokens import Access, ApiToken, Wanted
from fleet import confirming
from fleet.api.asking import refuse_body
from fleet.api.parameters import NAME, PAGING, Parameters, choice_in, flag_in, text_in
from fleet.api.views import ApiView

SEE_ALL, REVOKE_ALL = "campaigns.view_apitoken", "campaigns.delete_apitoken"
EVERYBODYS = OpenApiParameter("everybodys", bool, description=f"tokens of everybody, with {SEE_ALL}")
FILTERS = (
    OpenApiParameter("search", str, description="part of the name"),
    OpenApiParameter("access", str, enum=Access.values, description="what they are for"),
    OpenApiParameter("owner", NAME, description="name of the person whose they are; with everybodys those of others"),
    OpenApiParameter("tools_may_launch", bool, description="whether language models may launch with them"),
)


class TokenViewSet(ApiView, mixins.ListModelMixin, mixins.DestroyModelMixin, GenericViewSet[ApiToken]):
    """Tokens of this API: one's own, or everybody's. A token is shown once, at creation; `days` limits its life.

    Without `days` it lives TOKEN_DAYS. `role` and `labels` narrow it: it may what its owner and the role may, on hosts
    its owner sees that bear one of the labels. One that is made with a token lives no longer and may no more than it.
    """

    queryset = ApiToken.objects.none()
    serializer_class = TokenSerializer
    query_parameters: ClassVar[Parameters] = {"list": (*PAGING, EVERYBODYS, *FILTERS)}
    permission_classes = [IsAuthenticated]
    lookup_value_regex = "[0-9]{1,18}"

    def get_queryset(self) -> QuerySet[ApiToken]:
        """Give one's own; everybody's when asked for, or to who may revoke those of others."""
        user = cast(User, self.request.user)
        if self.action == "list" and flag_in(self.request, "everybodys"):
            if not user.has_perm(SEE_ALL):
                self.permission_denied(self.request, f"looking at tokens of others needs {SEE_ALL}")
            return ApiToken.objects.living()
        if self.action == "destroy" and user.has_perm(REVOKE_ALL):
            return cast(QuerySet[ApiToken], ApiToken.objects.select_related("user"))
        return ApiToken.objects.of(user)

    def filter_queryset(self, queryset: Any) -> Any:
        """Narrow the list."""
        if self.action != "list":
            return queryset
        request, others = self.request, flag_in(self.request, "everybodys") is True
        conditions = {
            "name__icontains": text_in(request, "search") or None,
            "access": choice_in(request, "access", Access.values),
            "user": person_in(request, "owner", others=others),
            "tools_may_launch": flag_in(request, "tools_may_launch"),
        }
        return queryset.filter(**{name: value for name, value in conditions.items() if value is not None})

    def perform_destroy(self, instance: ApiToken) -> None:
        """Take it away, at once."""
        refuse_body(self.request)
        instance.delete()

    @extend_schema(responses={201: ShownTokenSerializer})
    def create(self, request: Request) -> Response:
        """Make a token."""
        confirming.require_in_session(request)
        body = self.get_serializer(data=request.data)
        body.is_valid(raise_exception=True)
        given = {"access": Access.RUN, **body.validated_data}
        made_by = request.auth if isinstance(request.auth, ApiToken) else None
        made, token = ApiToken.objects.make(cast(User, request.user), Wanted(**given), made_by)
        return Response({**self.get_serializer(made).data, "token": token}, status=status.HTTP_201_CREATED)
